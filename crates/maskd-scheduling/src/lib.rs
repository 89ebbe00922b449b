//! Which frame is seen when. The one place where the daemon drops frames.
//!
//! Takes: frames as cameras send them, and how long the engine takes for them. Gives: the latest frame of each stream
//! ([`mailbox`]), at most as many a second as the stream's share ([`overload`], [`rate_controller`]), in turns by weight
//! ([`round_robin`]), at a resolution that the machine can keep up with.

pub mod mailbox;
pub mod overload;
pub mod rate_controller;
pub mod round_robin;
