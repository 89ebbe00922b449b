//! The trainer's integration tests: the method against the reference's numbers, and the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod data;
mod distill;
mod earlier;
mod golden;
mod learner;
mod order;
mod outputs;
mod presets;
mod program;
mod quality;
mod students;
#[path = "../../../tests/it/support/turned.rs"]
mod turned;
mod video_data;

#[path = "../../../tests/it/shared.rs"]
mod shared;
#[path = "../../../tests/it/skip.rs"]
mod skip;
