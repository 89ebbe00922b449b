//! Opening for reading: regular files only, without waiting, up to a size.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Most bytes of a file that people write by hand: configurations, lists, passwords.
pub const TEXT: u64 = 16 << 20;

/// Opens a regular file of at most `most` bytes for reading. Links are followed; never waits for the other end of a pipe.
///
/// # Errors
/// What the system says; that `path` is a folder, a pipe, a socket or a device; that the file is larger than `most`.
pub fn open(path: &Path, most: u64) -> io::Result<File> {
    super::place::note(path);
    // Without O_NONBLOCK, opening a named pipe waits until somebody writes to it. On a regular file it changes nothing.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let about = file.metadata()?;
    let kind = about.file_type();
    let other = [
        (kind.is_dir(), "a folder"),
        (kind.is_fifo(), "a named pipe"),
        (kind.is_socket(), "a socket"),
        (kind.is_char_device() || kind.is_block_device(), "a device"),
    ];
    if let Some((_, what)) = other.into_iter().find(|(is, _)| *is) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file")));
    }
    if about.len() > most {
        let why = format!("it has {} bytes, more than the {most} that are read here", about.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(file)
}

/// Checks that `path` is a regular file that can be opened, of whatever size: for what a library opens by itself.
///
/// # Errors
/// As [`open`].
pub fn check(path: &Path) -> io::Result<()> {
    open(path, u64::MAX).map(drop)
}

/// The bytes of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and a file that grows beyond `most` while it is read.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path, most)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("it has more than the {most} bytes that are read here");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

/// The text of a file that people write: UTF-8, at most [`TEXT`] bytes.
///
/// # Errors
/// As [`read`], and text that is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path, TEXT)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener, process::Command};

    use super::*;

    #[test]
    fn a_regular_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&file, "12345").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&link, 5).unwrap(), b"12345");
        assert_eq!(read_text(&file).unwrap(), "12345");
        assert!(read(&file, 4).unwrap_err().to_string().contains("5 bytes"));
        assert_eq!(read_text(&folder.path().join("gone")).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(read_text(&file).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, what) in
            [(pipe.as_path(), "a named pipe"), (folder.path(), "a folder"), (Path::new("/dev/zero"), "a device")]
        {
            let error = check(path).unwrap_err().to_string();
            assert!(error.contains(what), "{}: {error}", path.display());
        }
        // A socket cannot even be opened.
        assert!(check(&socket).is_err());
    }
}
