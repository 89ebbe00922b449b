//! Distillation: a small network learns to say of every patch what a large one says, from pictures alone.
//!
//! Not the teacher's `[CLS]` is learned but what `maskd` works with: the tokens by which labels are propagated, their
//! affinities, and what instances are discovered from. The student sees a crop; the teacher sees the same crop, resized
//! so that its patches lie on the student's.

pub mod config;
pub mod loss;
pub mod resize;
pub mod selector;
pub mod start;

mod distiller;

pub use config::DistillConfig;
pub use distiller::Distiller;
pub use selector::FeatureSelector;
