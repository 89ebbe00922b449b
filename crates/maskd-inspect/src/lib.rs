//! What maskd made of a clip and why, as a page for people: `It does not work on my camera`.
//!
//! Takes: each frame's result and a look into its tracker ([`Inspection`](maskd_tracking::tracker::Inspection)). Gives: a
//! folder with `index.html`, `log.jsonl` and `pictures/`. [`Report`] is the whole of it; it knows no command line and no
//! network.
//!
//! - what happened: [`record`] (one thing that happened, in words), [`story`] (all of it, frame by frame), [`lives`] (by instance)
//! - what it looks like: [`pictures`], [`digits`], [`chart`], [`page`], [`log`]
//! - where it goes: [`folder`], and [`seal`], by which files of ours are known again

pub mod chart;
pub mod digits;
pub mod folder;
pub mod html;
pub mod lives;
pub mod log;
pub mod page;
pub mod pictures;
pub mod record;
pub mod report;
pub mod seal;
pub mod story;

pub use folder::Folder;
pub use page::Facts;
pub use record::Moment;
pub use report::{PageSummary, Report, When};
