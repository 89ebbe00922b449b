//! The steps of a frame's way through maskd.

/// A step of a frame's way, for latencies and drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From the decoder to the engine.
    Ingest,
    /// Pixels to the network's input.
    Preprocess,
    /// The vision transformer.
    Backbone,
    /// All of the tracker's work on a batch: the five below, and the frames' colours.
    Track,
    /// Part of [`Stage::Track`], of one frame: colours, and the labels of earlier frames carried over.
    Propagate,
    /// Part of [`Stage::Track`], of one frame: motion, prompts and, in key frames, the search for instances.
    Discover,
    /// Part of [`Stage::Track`], of one frame: what is kept of it for the next ones.
    Remember,
    /// Part of [`Stage::Track`], of one frame: soft labels to one label per pixel.
    Mask,
    /// Part of [`Stage::Track`], of one frame: labels to run-length encoded masks.
    Encode,
    /// Encoding and handing over to zenoh.
    Publish,
    /// From capture to published: the sum a subscriber feels.
    Total,
}
