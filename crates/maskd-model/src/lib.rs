//! The vision transformer of DINO and DINOv2: one definition, used by the daemon and by the trainer.
//!
//! Takes: weights as others publish them, and pictures. Gives: a network on its device ([`backbone`]), features of patches,
//! attention maps, and a catalogue of published weights.

mod arch;
pub mod attention;
pub mod backbone;
pub mod catalogue;
mod crops;
mod dense;
mod family;
mod fault;
pub mod fetch;
mod layers;
mod names;
mod pickle;
mod pos_embed;
pub mod preprocess;
mod pth;
mod qkv;
mod raw;
mod rotary;
mod vit;
pub mod weights;
mod weights_source;

pub use arch::Architecture;
pub use crops::Branches;
pub use family::{Design, Discovery, Family, Positions, Resize};
pub use pos_embed::{bicubic_matrix, resize_pos_embed};
pub use vit::{Output, OutputRequest, Vit};
pub use weights::{Checkpoint, WeightsError};
pub use weights_source::{NotFetched, SHIPPED, WeightsSource};
