//! Which file a thread is reading, for others who wait for it: a call that hangs cannot say so itself.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;

thread_local! {
    static FOLLOWER: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// The file that some work is at: the last one that it looked at or opened.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<Mutex<Option<PathBuf>>>);

/// What tells one content of a file from another without reading it: when it was written, and its length in bytes.
pub type Stamp = (SystemTime, u64);

impl Place {
    /// Does `work`, which is followed from file to file on this thread.
    pub fn follow<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = FOLLOWER.replace(Some(self.clone()));
        let done = work();
        FOLLOWER.set(before);
        done
    }

    /// Where the work is; nothing before its first file.
    pub fn now(&self) -> Option<PathBuf> {
        self.0.lock().clone()
    }
}

/// This thread is about to look at `path`.
pub(super) fn note(path: &Path) {
    FOLLOWER.with_borrow(|follower| {
        if let Some(Place(place)) = follower {
            *place.lock() = Some(path.to_owned());
        }
    });
}

/// The stamp of a file; nothing where it cannot be looked at.
pub fn stamp(path: &Path) -> Option<Stamp> {
    note(path);
    let about = fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_followed_on_its_thread_and_no_longer() {
        let (place, path) = (Place::default(), Path::new("/nowhere/a"));
        assert_eq!(place.follow(|| (stamp(path), place.now())), (None, Some(path.to_owned())));
        assert!(super::super::check(Path::new("/nowhere/b")).is_err());
        assert_eq!(place.now().as_deref(), Some(path));
        place.follow(|| super::super::check(Path::new("/nowhere/b")).unwrap_err());
        assert_eq!(place.now().as_deref(), Some(Path::new("/nowhere/b")));
    }
}
