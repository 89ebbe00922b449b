//! The mark of PNG files that maskd made, by which they are told from everybody else's.

use std::{
    io::{self, BufReader, Write},
    path::Path,
};

use png::Limits;

use super::MAX_AREA;
use crate::files;

/// The keyword that the PNG specification has for the program that made a picture.
const KEYWORD: &str = "Software";
const NAME: &str = "maskd";

/// Puts the mark into a PNG that is about to be written.
///
/// # Errors
/// None that this mark can meet: it is Latin-1 and short.
pub fn sign_png<W: Write>(encoder: &mut png::Encoder<'_, W>) -> Result<(), png::EncodingError> {
    encoder.add_text_chunk(KEYWORD.to_owned(), NAME.to_owned())
}

/// Whether `path` is a PNG with the mark. Only what stands before its pixels is read. Programs that edit pictures put
/// their own name in its place or leave it out.
///
/// # Errors
/// A file that cannot be opened.
pub fn is_own_png(path: &Path) -> io::Result<bool> {
    let file = files::open(path, u64::MAX)?;
    let decoder = png::Decoder::new_with_limits(BufReader::new(file), Limits { bytes: 2 * MAX_AREA });
    let Ok(reader) = decoder.read_info() else { return Ok(false) };
    Ok(reader.info().uncompressed_latin1_text.iter().any(|text| text.keyword == KEYWORD && text.text == NAME))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{frame::Size, mask::LabelMap};

    #[test]
    fn a_mask_of_ours_is_known_and_the_same_mask_by_others_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        LabelMap { size: Size::new(2, 2), labels: vec![0, 1, 2, 3] }.write_png(&path("ours.png")).unwrap();
        assert!(is_own_png(&path("ours.png")).unwrap());
        // Read and written by another program.
        image::open(path("ours.png")).unwrap().save(path("edited.png")).unwrap();
        fs::write(path("text.png"), "Software\0maskd").unwrap();
        fs::write(path("empty.png"), "").unwrap();
        let whole = fs::read(path("ours.png")).unwrap();
        fs::write(path("cut.png"), &whole[..40]).unwrap();
        for name in ["edited.png", "text.png", "empty.png", "cut.png"] {
            assert!(!is_own_png(&path(name)).unwrap(), "{name}");
        }
        assert!(is_own_png(&path("gone.png")).is_err());
    }
}
