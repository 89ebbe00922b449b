//! Instances in a stream of features: found, followed, and drawn to the pixel.
//!
//! Takes: [`Features`](maskd_types::features::Features) of frames, prompts and first masks. Gives: instances with
//! identities and masks. [`engine`] runs the network and one [`tracker`] for each stream, and knows no channels, no clocks
//! and no files; [`discover`] finds instances, [`propagate`] carries labels from frame to frame, [`refine`] makes masks
//! finer than patches; [`preset`] names the two ways of working that are reported side by side.

pub mod discover;
pub mod engine;
pub mod preset;
pub mod propagate;
pub mod refine;
pub mod tracker;
