//! What the system says about a frame: instances, their masks, and what happened to them; and what
//! a person may ask for: prompts. The tracker, the engine and the messages share these types.

use serde::{Deserialize, Serialize};

pub use crate::mask::BBox;
use crate::mask::Rle;

/// The identity of an instance within its stream: stable from its first mask to its end, never used again.
pub type InstanceId = u32;

/// One instance as seen in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Stable identity within the stream.
    pub id: InstanceId,
    /// Frames since the instance's first mask (0 in the frame where it appears).
    pub age: u64,
    /// Confidence in 0..=1: the mean soft label over the mask.
    pub score: f32,
    /// The mask's bounding box.
    pub bbox: BBox,
    /// The mask's area in pixels.
    pub area: u64,
    /// The mask at the size of the source frame.
    pub mask: Rle,
}

/// Where an instance's first mask came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A mask image given with the stream (`first_mask`).
    FirstMask,
    /// Somebody's prompt.
    Prompt,
    /// Found by discovery.
    Discovered,
}

/// Why an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Out of sight for longer than configured.
    Lost,
    /// A prompt replaced or removed it.
    Replaced,
    /// The picture changed so much that nothing could be carried over.
    SceneCut,
}

/// Something that happened to an instance in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TrackEvent {
    /// A new identity.
    Appeared {
        /// Its id.
        id: InstanceId,
        /// Where its first mask came from.
        origin: Origin,
    },
    /// An identity that will not be seen again.
    Ended {
        /// Its id.
        id: InstanceId,
        /// Why.
        cause: EndCause,
    },
}

/// What somebody asks to be followed, in pixels of the source frame. Applied to the stream's next frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Prompt {
    /// One new instance inside a box.
    Box {
        /// The box.
        bbox: BBox,
    },
    /// One new instance that holds the `positive` points and none of the `negative`.
    Points {
        /// `(x, y)` on the instance; at least one.
        positive: Vec<[u32; 2]>,
        /// `(x, y)` not on it.
        #[serde(default)]
        negative: Vec<[u32; 2]>,
    },
    /// One new instance with exactly this mask.
    Mask {
        /// COCO run-length encoding at the source frame's size.
        mask: Rle,
    },
    /// Forget all instances and discover again.
    Reset,
}
