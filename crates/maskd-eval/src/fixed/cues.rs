//! The cues of a fixed camera's pixels beside the truth: the weights of its evidence are fitted on them.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

use super::{
    Sequence, Shot,
    truth::{Pixel, Truth},
};
use maskd_fixed::{camera::View, evidence::CUES};
use maskd_types::files;

/// Pixels are taken from every sixth judged frame: its neighbours would say the same.
const EVERY: usize = 6;
/// Most pixels that are taken of each kind in a frame.
const MOST: usize = 2000;
/// How a NumPy file begins.
const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Bytes before the numbers.
const HEADER: usize = 128;
/// Numbers in a row: 1 for a pixel that moves or 0, how many pixels it stands for, whether features were looked at, the cues.
const ROW: usize = 3 + CUES;

/// Pixels of one sequence.
#[derive(Debug, Default)]
pub struct Cues {
    rows: Vec<f32>,
    judged: usize,
}

impl Cues {
    /// Where those of a sequence go.
    pub fn path(folder: &Path, sequence: &Sequence) -> PathBuf {
        folder.join(format!("{}.npy", sequence.name))
    }

    /// Takes pixels of a frame that was just run. Pictures that are looked at smaller than they are, and those that had to be
    /// shifted, are left out: their pixels are not those of the truth.
    ///
    /// # Errors
    /// A truth that cannot be read, or is of another size.
    pub fn take(&mut self, shot: &Shot, view: &View) -> Result<()> {
        let Some(path) = &shot.truth else { return Ok(()) };
        self.judged += 1;
        if !(self.judged - 1).is_multiple_of(EVERY) || view.scale != 1 || view.measures.shift != (0.0, 0.0) {
            return Ok(());
        }
        let truth = Truth::read(path)?;
        ensure!(truth.pixels.len() == view.distance.len(), "{}: it is not of the frame's size", path.display());
        let mut kinds = [Vec::new(), Vec::new()];
        for (p, pixel) in truth.pixels.iter().enumerate().filter(|(_, pixel)| **pixel != Pixel::NotJudged) {
            if let Some(cues) = view.cues(p) {
                kinds[usize::from(*pixel == Pixel::Moving)].push(cues);
            }
        }
        let features = f32::from(u8::from(!view.feature.is_empty()));
        for (moves, all) in [0.0, 1.0].into_iter().zip(&kinds) {
            let step = all.len().div_ceil(MOST).max(1);
            for cues in all.iter().step_by(step) {
                self.rows.extend([moves, step as f32, features]);
                self.rows.extend(cues);
            }
        }
        Ok(())
    }

    /// Writes them as a NumPy file of shape `(pixels, 3 + cues)`.
    ///
    /// # Errors
    /// A full disk, and a file there that is none of this kind.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(files::write(path, &is_cues, |file| self.write_to(file))?)
    }

    fn write_to(&self, file: &mut File) -> io::Result<()> {
        let shape =
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {ROW}), }}", self.rows.len() / ROW);
        let text = HEADER - MAGIC.len() - 2;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((text as u16).to_le_bytes());
        bytes.extend(format!("{shape:<width$}\n", width = text - 1).into_bytes());
        bytes.extend(self.rows.iter().flat_map(|number| number.to_le_bytes()));
        file.write_all(&bytes)
    }
}

/// Whether a file is one that may be replaced.
///
/// # Errors
/// It cannot be read.
pub fn is_cues(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    BufReader::new(files::open(path, u64::MAX)?).take(HEADER as u64).read_to_end(&mut start)?;
    let width = format!(", {ROW}), }}");
    Ok(start.starts_with(MAGIC) && start.windows(width.len()).any(|part| part == width.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_cues_is_known_again_and_no_other_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("b.npy");
        let cues = Cues { rows: (0..2 * ROW).map(|i| i as f32).collect(), judged: 2 };
        cues.write(&path).unwrap();
        cues.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), HEADER + 2 * ROW * 4);
        assert!(bytes[..HEADER].ends_with(b"\n") && String::from_utf8_lossy(&bytes[..HEADER]).contains("(2, 20)"));
        assert_eq!(bytes[HEADER + 4..HEADER + 8], 1f32.to_le_bytes());
        std::fs::write(&path, "a letter").unwrap();
        assert!(cues.write(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
    }
}
