//! What a fixed camera sees: the empty scene, what differs from it, and each moving thing as one object.
//!
//! Takes: pictures with the time between them, and patch features of each. Gives: whether the camera is fixed, and the thing of
//! each pixel. [`camera`] holds the order of the stages; it knows no network, no identities of instances and no files.
//!
//! - the scene: [`background`] (modes of colour for each pixel), [`patches`] (features), [`recent`] (what stands still), `ghosts` (what has left)
//! - the picture in the scene's place and light: [`register`], `shifted`, [`light`]
//! - what differs: [`evidence`] (a logistic model of all cues), [`foreground`], [`gaps`], [`boxes`], [`components`], [`necks`]
//! - things: [`objects`]
//! - [`verdict`]: whether the camera is fixed
//! - what people may look at: [`events`], [`camera::View`]

pub mod background;
pub mod boxes;
pub mod camera;
pub mod components;
pub mod events;
pub mod evidence;
pub mod foreground;
pub mod gaps;
mod ghosts;
pub mod light;
mod logarithm;
pub mod necks;
pub mod objects;
pub mod patches;
pub mod planes;
pub mod recent;
pub mod register;
mod runs;
mod shifted;
pub mod verdict;
