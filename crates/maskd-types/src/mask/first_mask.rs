//! The mask that a stream starts from: what its file may say, and what is refused, alike wherever one is named.
//!
//! | picture | what its values mean |
//! | --- | --- |
//! | indexed PNG | each index is an instance's id; 255 is void, as in DAVIS, and counts as background |
//! | grey PNG, up to 8 bits, only 0 and white | the white is one instance, id 1: what most tools write |
//! | grey PNG, up to 8 bits, other values | each value is an instance's id; 255 is void |
//!
//! A mask that marks nothing is of no use, and neither is one of another size than the pictures: both are errors.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use super::{LabelMap, MaskError, png_file::decode};
use crate::frame::Size;

/// What DAVIS calls void: not judged, and never an instance.
const VOID: u8 = 255;

/// A mask that can be used, and the file it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstMask {
    path: PathBuf,
    labels: LabelMap,
}

/// Why a first mask is refused. Each says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FirstMaskError {
    /// The file cannot be read, or is no mask.
    #[error(transparent)]
    Unreadable(#[from] MaskError),
    /// No pixel belongs to an instance.
    #[error("{}: it marks nothing, every pixel is background{}", path.display(), void_too(*void))]
    Blank {
        /// The file.
        path: PathBuf,
        /// Whether some pixels are void.
        void: bool,
    },
    /// There are more instances than may live at a time.
    #[error("{}: it marks {found} instances, and [tracker] max_instances is {most}: raise that", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Instances in it.
        found: usize,
        /// Instances that may live.
        most: usize,
    },
    /// It was made for pictures of another size.
    #[error("{}: it is {found}, the pictures are {expected}; draw it at their size", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: Size,
        /// The pictures' size.
        expected: Size,
    },
}

fn void_too(void: bool) -> &'static str {
    if void { " or void (255); instances are 1 to 254" } else { "" }
}

impl FirstMask {
    /// Reads a first mask; the table above says what its values mean.
    ///
    /// # Errors
    /// A file that cannot be read or is no mask, and one that marks nothing.
    pub fn read(path: &Path) -> Result<Self, FirstMaskError> {
        let (mut labels, white) = decode(path, true)?;
        let void = white.is_none_or(|white| !is_binary(&labels, white));
        if !void {
            labels.labels.iter_mut().for_each(|label| *label = u8::from(*label > 0));
        }
        Self::of(path, labels)
    }

    /// Labels that were read from `path` by other rules, such as an annotation's; 255 is void.
    ///
    /// # Errors
    /// A mask that marks nothing.
    pub fn of(path: &Path, mut labels: LabelMap) -> Result<Self, FirstMaskError> {
        let void = labels.labels.contains(&VOID);
        labels.labels.iter_mut().filter(|label| **label == VOID).for_each(|label| *label = 0);
        if labels.labels.iter().all(|label| *label == 0) {
            return Err(FirstMaskError::Blank { path: path.to_owned(), void });
        }
        Ok(Self { path: path.to_owned(), labels })
    }

    /// Whether `path` is a grey picture of 0 and white alone: one object, not an id and void. False where it cannot be
    /// read.
    pub fn is_binary(path: &Path) -> bool {
        matches!(decode(path, true), Ok((labels, Some(white))) if is_binary(&labels, white))
    }

    /// The mask, where no more than `most` instances are in it.
    ///
    /// # Errors
    /// More instances.
    pub fn at_most(self, most: usize) -> Result<Self, FirstMaskError> {
        let found = self.labels.labels.iter().filter(|label| **label != 0).collect::<BTreeSet<_>>().len();
        match found > most {
            true => Err(FirstMaskError::TooMany { path: self.path, found, most }),
            false => Ok(self),
        }
    }

    /// The labels, for pictures of `size`: ids 1 to 254, 0 is background.
    ///
    /// # Errors
    /// A mask of another size.
    pub fn fit(self, size: Size) -> Result<LabelMap, FirstMaskError> {
        match self.labels.size == size {
            true => Ok(self.labels),
            false => Err(FirstMaskError::WrongSize { path: self.path, found: self.labels.size, expected: size }),
        }
    }

    /// The labels, whatever the pictures' size.
    pub fn labels(&self) -> &LabelMap {
        &self.labels
    }

    /// Tells masks apart by what they say, whatever their files are called.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.labels.size.width, self.labels.size.height, &self.labels.labels).hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether white, and nothing else, stands beside 0.
fn is_binary(labels: &LabelMap, white: u8) -> bool {
    labels.labels.contains(&white) && labels.labels.iter().all(|label| *label == 0 || *label == white)
}

#[cfg(test)]
mod tests {
    use png::{BitDepth, ColorType};

    use super::*;

    const SIZE: Size = Size::new(4, 1);

    fn mask(colour: ColorType, depth: BitDepth, data: &[u8]) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        super::super::png_file::write_for_test(&path, colour, depth, SIZE, data);
        FirstMask::read(&path).map(|mask| mask.labels.labels).map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_ids_but_white_alone_is_one_instance() {
        use {BitDepth::*, ColorType::*};
        for (colour, depth, data, labels) in [
            (Grayscale, Eight, &[0, 255, 255, 0][..], [0, 1, 1, 0]),
            (Grayscale, Eight, &[255; 4], [1; 4]),
            (Grayscale, Eight, &[0, 7, 255, 3], [0, 7, 0, 3]),
            (Grayscale, Eight, &[0, 1, 1, 0], [0, 1, 1, 0]),
            (Grayscale, One, &[0b0110_0000], [0, 1, 1, 0]),
            (Grayscale, Two, &[0b0011_1100], [0, 1, 1, 0]),
            (Grayscale, Four, &[0x0f, 0x20], [0, 15, 2, 0]),
            (Indexed, Eight, &[0, 255, 9, 9], [0, 0, 9, 9]),
            (Indexed, One, &[0b0110_0000], [0, 1, 1, 0]),
        ] {
            assert_eq!(mask(colour, depth, data).as_deref(), Ok(&labels[..]), "{colour:?} {depth:?} {data:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_the_same_words() {
        use {BitDepth::*, ColorType::*};
        for (colour, depth, data, says) in [
            (Grayscale, Eight, &[0; 4][..], "m.png: it marks nothing, every pixel is background"),
            (Indexed, Eight, &[0, 255, 255, 0], "every pixel is background or void (255); instances are 1 to 254"),
            (Rgb, Eight, &[255; 12], "a grey one of up to 8 bits"),
            (Rgba, Eight, &[255; 16], "a grey one of up to 8 bits"),
            (Grayscale, Sixteen, &[255; 8], "a grey one of up to 8 bits"),
            (GrayscaleAlpha, Eight, &[255; 8], "a grey one of up to 8 bits"),
        ] {
            let error = mask(colour, depth, data).unwrap_err();
            assert!(error.contains(says), "{colour:?} {depth:?} {data:?}: {error}");
        }
        let three = LabelMap { size: SIZE, labels: vec![0, 1, 2, 3] };
        let three = FirstMask::of(Path::new("m.png"), three).unwrap();
        assert!(three.clone().at_most(3).is_ok());
        let error = three.clone().at_most(2).unwrap_err().to_string();
        assert_eq!(error, "m.png: it marks 3 instances, and [tracker] max_instances is 2: raise that");
        assert_eq!(three.clone().fit(SIZE).unwrap().labels, [0, 1, 2, 3]);
        let error = three.fit(Size::new(8, 2)).unwrap_err().to_string();
        assert_eq!(error, "m.png: it is 4x1, the pictures are 8x2; draw it at their size");
    }

    #[test]
    fn masks_are_told_apart_by_what_they_say() {
        let of = |path: &str, labels: [u8; 4]| {
            FirstMask::of(Path::new(path), LabelMap { size: SIZE, labels: labels.to_vec() }).unwrap().fingerprint()
        };
        assert_eq!(of("a", [0, 1, 2, 0]), of("b", [0, 1, 2, 0]));
        assert_ne!(of("a", [0, 1, 2, 0]), of("a", [0, 1, 1, 0]));
    }
}
