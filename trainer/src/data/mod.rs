//! Pictures and videos become batches of crops, the same ones for any number of threads.
//!
//! ```text
//! files (images, videos) -> video, cache (frames of videos on disc) -> samples
//! order (shuffled by epoch) -> workers (decode, crop) -> batches, in order
//! ```
//!
//! A batch is a function of the seed, its number and the list of samples: each sample's chance comes from a ChaCha
//! generator of its own, seeded by (seed, epoch, sample). A sample that cannot be read is replaced by the next one of
//! the list that can, which depends on the files alone.

mod batch;
mod cache;
mod config;
mod decode;
mod files;
mod loader;
mod order;
mod samples;
mod video;
mod workers;

pub use batch::{Batch, CropBatch};
pub use config::DataConfig;
pub use files::some as some_files;
pub use loader::Loader;
