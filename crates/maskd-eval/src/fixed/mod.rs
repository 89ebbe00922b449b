//! Fixed cameras: sets with pixel truth of what moves, the figures that tell background subtraction and instances apart,
//! and the engine run over a whole set.

mod cues;
mod figures;
mod identities;
mod judge;
mod labels;
mod names;
mod part;
mod report;
mod run;
mod score;
mod sequence;
mod set;
mod table;
mod truth;

pub use cues::{Cues, is_cues};
pub use figures::{Figures, Identities};
pub use judge::{SequenceFigures, judge};
pub use labels::palette_indices;
pub use names::Layout;
pub use part::{Cut, Part};
pub use report::{Report, check_written};
pub use run::{check, run};
pub use sequence::{Sequence, Shot};
pub use set::Set;
pub use table::for_people;
