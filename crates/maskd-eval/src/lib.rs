//! Mask quality. DAVIS: the dataset on disk, its two metrics (region similarity J, contour accuracy F), the figures of the
//! semi-supervised and the unsupervised task that papers quote, how well identities are kept, and the engine run over
//! a whole set. [`fixed`]: the same for fixed cameras with truth of what moves.

mod components;
mod contour;
mod dataset;
pub mod fixed;
mod identity;
mod matching;
mod plan;
mod prompted;
mod proposals;
mod region;
mod report;
mod run;
mod score;
mod semi_supervised;
mod shape;
mod statistics;
mod tables;
mod unsupervised;
mod written;

pub use contour::contour;
pub use dataset::{Dataset, Sequence, Task};
pub use identity::{IdentityReport, identity, identity_of};
pub use plan::{Job, Marker, RunPlan};
pub use prompted::{Protocol, centre_most, correction, tight_box};
pub use region::region;
pub use report::{Milliseconds, Summary, now};
pub use run::{EngineFailed, Given, Timing, check};
pub use score::{ObjectScore, Report};
pub use semi_supervised::{objects, semi_supervised};
pub use shape::Shape;
pub use statistics::Statistics;
pub use tables::{Row, for_people, global_csv, global_csv_name, per_sequence_csv, per_sequence_csv_name};
pub use unsupervised::{MAX_PROPOSALS, Proposals, unsupervised};
pub use written::{check_written, write_results};
