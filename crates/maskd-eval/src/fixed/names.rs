//! Where a sequence's files are, in both layouts.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// How a sequence's files are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `frames/NNNNN.jpg` and `truth/NNNNN.png`.
    Plain,
    /// CDnet 2012 and 2014: `input/inNNNNNN.jpg`, `groundtruth/gtNNNNNN.png`, `temporalROI.txt` and `ROI.bmp` or `ROI.jpg`.
    CdNet,
}

impl Layout {
    /// The layout of the sequence in `folder`; none where that holds no sequence.
    pub fn of(folder: &Path) -> Option<Self> {
        let has = |name: &str| folder.join(name).is_dir();
        if has("frames") {
            Some(Self::Plain)
        } else if has("input") && has("groundtruth") {
            Some(Self::CdNet)
        } else {
            None
        }
    }

    /// Where its frames are.
    pub fn frames(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Plain => "frames",
            Self::CdNet => "input",
        })
    }

    /// Where the truth of its frames is.
    pub fn truths(self, folder: &Path) -> PathBuf {
        folder.join(match self {
            Self::Plain => "truth",
            Self::CdNet => "groundtruth",
        })
    }

    /// The truth of a frame.
    pub fn truth(self, folder: &Path, frame: &Path) -> PathBuf {
        let stem = stem(frame).to_string_lossy();
        let name = match self {
            Self::Plain => format!("{stem}.png"),
            Self::CdNet => format!("gt{}.png", stem.strip_prefix("in").unwrap_or(&stem)),
        };
        self.truths(folder).join(name)
    }
}

/// Where the set may say which thing is where.
pub fn identities(folder: &Path) -> PathBuf {
    folder.join("identities")
}

/// A frame's name without its ending.
pub fn stem(frame: &Path) -> &OsStr {
    frame.file_stem().unwrap_or_default()
}

/// A frame's name with the ending of a mask.
pub fn png(frame: &Path) -> PathBuf {
    let mut name = stem(frame).to_owned();
    name.push(".png");
    name.into()
}
