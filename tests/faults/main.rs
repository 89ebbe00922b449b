//! The fault bench: things are broken on purpose, and the daemon has to keep its promises.
//!
//! Each fault is one [`fault::Fault`]: a name, what happens in words, and a function that makes it happen so many times
//! and hands back an [`outcome::Outcome`] for each. It is run in two ways:
//!
//! - once, small, as a test of its own (`make test`): that asserts behaviour and no times;
//! - many times, with seven cameras beside the broken one (`make faults`): that writes the table of recovery times, frames
//!   lost and what the others felt. `make faults FAULTS="cut stall" REPEATS=5` runs some and replaces their rows.
//!
//! To add one: a file of faults has `pub const FAULTS: &[Fault]` and a `#[test]` for each; name the file below and its
//! list in [`fault::all`]. What is broken between camera and daemon is in [`proxy`], what a camera does wrong in
//! [`camera`]; a daemon with cameras, a subscriber that judges every mask by the drawn truth, and books that are audited all
//! the while is a [`rig::Rig`]. A fault that is not a camera's can do without the last three.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod behaviour;
mod bench;
mod camera;
mod clock;
mod disk;
mod endurance;
mod fault;
mod film;
mod held;
mod helper;
mod kill;
mod network;
mod outcome;
mod post;
mod proxy;
mod readers;
mod rig;
mod router;
mod rtp;
mod soak;
mod table;
mod watch;

#[path = "../it/skip.rs"]
mod skip;

#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "shared with the other test binary, which uses the rest")]
mod support;
