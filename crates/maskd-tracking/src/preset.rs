//! The two ways of working that are reported side by side: as published, and as measured to be best.

use std::{fmt, str::FromStr};

use crate::tracker::TrackerConfig;
use maskd_model::backbone::BlockChoice;

/// How frames are segmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The published protocol, unchanged: tokens of the last block, nearest labels, bilinear upsampling, min-max.
    Paper,
    /// What the daemon uses.
    #[default]
    Best,
}

/// Where the instances come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A mask of the first frame is given; nothing else is looked for, and nothing ends.
    FirstMask,
    /// They are discovered.
    Discovery,
}

impl Preset {
    /// The block by whose tokens labels are propagated.
    pub fn block(self) -> BlockChoice {
        match self {
            Self::Paper => BlockChoice::Last,
            Self::Best => BlockChoice::Auto,
        }
    }

    /// How a tracker works.
    pub fn tracker(self, start: Start) -> TrackerConfig {
        let paper = TrackerConfig::protocol();
        match (self, start) {
            (Self::Paper, Start::FirstMask) => paper,
            (Self::Paper, Start::Discovery) => TrackerConfig { discovery: true, rediscover_every: 0, ..paper },
            (Self::Best, Start::FirstMask) => {
                TrackerConfig { discovery: false, gating: false, lost_after_frames: 0, ..TrackerConfig::default() }
            }
            (Self::Best, Start::Discovery) => TrackerConfig::default(),
        }
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "paper" => Ok(Self::Paper),
            "best" => Ok(Self::Best),
            other => Err(format!("{other:?} is not paper or best")),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Best => "best",
        })
    }
}
