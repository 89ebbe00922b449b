//! The types that all parts of maskd share, and nothing that does any of its work.
//!
//! Takes: nothing but the standard library and a few formats (PNG). Gives: [`Frame`](frame::Frame)s and where they come
//! from, [`Features`](features::Features) of their patches, [`Instance`](instance::Instance)s, masks and their encodings
//! ([`mask`]), the [`Stage`](stage::Stage)s of a frame's way, a
//! [`CancellationToken`](cancellation::CancellationToken) that every wait can listen to, and the one place that opens
//! [`files`] named from outside.

pub mod cancellation;
pub mod features;
pub mod files;
pub mod frame;
pub mod instance;
pub mod mask;
pub mod panic;
pub mod picture;
pub mod stage;
