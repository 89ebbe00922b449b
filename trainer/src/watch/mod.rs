//! Those who watch a run for people: how good the teacher is by now, where it looks, curves, and TensorBoard.

mod curves;
mod evaluator;
mod events;
mod neighbours;

pub use curves::{Curves, draw as draw_curves};
pub use evaluator::Evaluator;
pub use events::TensorBoard;
