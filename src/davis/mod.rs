//! DAVIS: the dataset on disk, its two metrics (region similarity J, contour accuracy F), and the
//! semi-supervised figures that papers quote; and how well identities are kept.

mod contour;
mod dataset;
mod identity;
mod region;
mod semi_supervised;
mod statistics;

pub use contour::contour;
pub use dataset::{Dataset, Sequence};
pub use identity::{IdentityReport, identity, identity_of};
pub use region::region;
pub use semi_supervised::{ObjectScore, Report, objects, semi_supervised};
pub use statistics::Statistics;
