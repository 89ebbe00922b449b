//! Those who watch a run for people: how good the teacher is by now, where it looks, curves, and TensorBoard.

mod curves;
mod events;
mod judge;
mod neighbours;

pub use curves::{Curves, draw as draw_curves};
pub use events::TensorBoard;
pub use judge::Judge;
