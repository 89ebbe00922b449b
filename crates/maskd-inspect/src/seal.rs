//! A mark in files that maskd made, with the hash of all the rest: what somebody has changed is theirs.

use std::{io, path::Path};

use maskd_types::files;
use sha2::{Digest as _, Sha256};

const MARK: &[u8] = b"made by maskd inspect, sha256 ";
const BLANK: &[u8] = &[b'0'; 64];
/// Most bytes of a file that is looked into.
const MOST: u64 = 1 << 30;

/// The mark, to be put into a file near its end before [`close`] is called.
pub fn blank() -> String {
    String::from_utf8_lossy(&[MARK, BLANK].concat()).into_owned()
}

/// Fills in the last mark of a file that is complete but for this.
pub fn close(bytes: &mut [u8]) {
    if let Some(at) = place(bytes) {
        bytes[at..at + BLANK.len()].copy_from_slice(BLANK);
        let digest = hash(bytes);
        bytes[at..at + BLANK.len()].copy_from_slice(digest.as_bytes());
    }
}

/// Whether a file has a mark, and is as it was when that was filled in.
pub fn is_whole(bytes: &[u8]) -> bool {
    let Some(at) = place(bytes) else { return false };
    let mut open = bytes.to_vec();
    open[at..at + BLANK.len()].copy_from_slice(BLANK);
    bytes[at..at + BLANK.len()] == *hash(&open).as_bytes()
}

/// Whether the file at `path` is one of ours.
///
/// # Errors
/// A file that cannot be read.
pub fn is_ours(path: &Path) -> io::Result<bool> {
    Ok(is_whole(&files::read(path, MOST)?))
}

/// Where the digest of the last mark stands.
fn place(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(MARK.len() + BLANK.len()).rposition(|window| window.starts_with(MARK))?;
    Some(at + MARK.len())
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_ours_no_longer() {
        let mut text = format!("a page of {}\n<!-- {} -->\n", blank(), blank()).into_bytes();
        assert!(!is_whole(&text));
        close(&mut text);
        assert!(is_whole(&text));
        for at in [0, 30, text.len() - 10, text.len() - 1] {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(!is_whole(&changed), "byte {at}");
        }
        text.extend(b"more");
        assert!(!is_whole(&text) && !is_whole(b"") && !is_whole(MARK));
    }
}
