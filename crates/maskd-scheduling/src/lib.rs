//! Which frame is seen when. The one place where the daemon drops frames.
//!
//! Takes: frames as cameras send them, and how long the engine takes for them. Gives: the newest frame of each stream
//! ([`mailbox`]), at most as many a second as the stream's share ([`overload`], [`pace`]), in turns by weight ([`turns`]),
//! at a resolution that the machine can keep up with.

pub mod mailbox;
pub mod overload;
pub mod pace;
pub mod turns;
