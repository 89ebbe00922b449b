//! The masks that streams start from: each is used once, on the first frame that comes after it was given.

use std::collections::HashMap;

use maskd_types::{frame::StreamId, mask::FirstMask};

/// What is known of each stream's first mask.
#[derive(Default)]
pub(super) struct Starts(HashMap<StreamId, Start>);

struct Start {
    /// Tells the mask from another.
    fingerprint: u64,
    /// Until its frame comes.
    waiting: Option<FirstMask>,
}

/// What becomes of a mask that a stream is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The next frame starts from it.
    Waits,
    /// A frame has started from it: the stream goes on with what it has.
    HadItsFrame,
}

impl Starts {
    /// The mask that `stream` is configured with from now on.
    pub(super) fn give(&mut self, stream: &StreamId, mask: FirstMask) -> Given {
        let fingerprint = mask.fingerprint();
        match self.0.get(stream) {
            Some(start) if start.fingerprint == fingerprint && start.waiting.is_none() => Given::HadItsFrame,
            _ => {
                self.0.insert(stream.clone(), Start { fingerprint, waiting: Some(mask) });
                Given::Waits
            }
        }
    }

    /// The mask that the frame in hand of `stream` starts from.
    pub(super) fn take(&mut self, stream: &StreamId) -> Option<FirstMask> {
        self.0.get_mut(stream)?.waiting.take()
    }

    /// `stream` has no first mask, or is no more.
    pub(super) fn forget(&mut self, stream: &StreamId) {
        self.0.remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use maskd_types::{frame::Size, mask::LabelMap};

    fn mask(label: u8) -> FirstMask {
        FirstMask::of(Path::new("m.png"), LabelMap { size: Size::new(2, 1), labels: vec![0, label] }).unwrap()
    }

    #[test]
    fn a_mask_is_used_once_and_another_one_again() {
        let (mut starts, stream) = (Starts::default(), "a".parse().unwrap());
        assert_eq!(starts.take(&stream), None);
        assert_eq!(starts.give(&stream, mask(1)), Given::Waits);
        // Given once more before its frame came, as when a stream is configured anew: not lost.
        assert_eq!(starts.give(&stream, mask(1)), Given::Waits);
        assert_eq!(starts.take(&stream), Some(mask(1)));
        assert_eq!((starts.take(&stream), starts.give(&stream, mask(1))), (None, Given::HadItsFrame));
        assert_eq!(starts.take(&stream), None);
        assert_eq!(starts.give(&stream, mask(2)), Given::Waits);
        // Taken out of the configuration before its frame came: not used.
        starts.forget(&stream);
        assert_eq!(starts.take(&stream), None);
        assert_eq!(starts.give(&stream, mask(2)), Given::Waits);
    }
}
