//! Those who watch a run for people: event files for TensorBoard.

mod events;

pub use events::TensorBoard;
