//! The trainer's integration tests: the method against the reference's numbers, and the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod data;
mod distill;
mod golden;
mod learner;
mod order;
mod presets;
mod program;
mod quality;
mod shared;
mod students;
mod video_data;
