//! Numbers the frames of one stream and says when its time line broke.

/// Sequence numbers run on for as long as the daemon runs; an epoch ends with each rebuilt pipeline and
/// each timestamp jump, so that times are not compared across the break.
#[derive(Debug)]
pub struct Timeline {
    max_gap_ns: u64,
    sequence: u64,
    epoch: u32,
    frames_in_epoch: u64,
    last_pts: Option<u64>,
}

/// The numbers of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Frames captured from the stream before this one.
    pub sequence: u64,
    /// The epoch the frame belongs to.
    pub epoch: u32,
    /// The timestamp jumped, so this frame opened a new epoch.
    pub jumped: bool,
}

impl Timeline {
    /// Starts at sequence 0, epoch 0. A PTS more than `max_gap_ns` after the one before is a jump; so is any step back.
    pub fn new(max_gap_ns: u64) -> Self {
        Self { max_gap_ns, sequence: 0, epoch: 0, frames_in_epoch: 0, last_pts: None }
    }

    /// Numbers the next frame. A frame without PTS takes part in no comparison.
    pub fn admit(&mut self, pts_ns: Option<u64>) -> Stamp {
        let jumped = match (self.last_pts, pts_ns) {
            (Some(last), Some(pts)) => pts < last || pts - last > self.max_gap_ns,
            _ => false,
        };
        if jumped {
            self.new_epoch();
        }
        self.last_pts = pts_ns.or(self.last_pts);
        let stamp = Stamp { sequence: self.sequence, epoch: self.epoch, jumped };
        self.sequence += 1;
        self.frames_in_epoch += 1;
        stamp
    }

    /// Another source follows under the same name: a new epoch, and its own idea of a jump.
    pub fn resume(&mut self, max_gap_ns: u64) {
        self.max_gap_ns = max_gap_ns;
        self.new_epoch();
    }

    /// A new pipeline follows. An epoch in which no frame came is used again.
    pub fn new_epoch(&mut self) {
        if self.frames_in_epoch > 0 {
            self.epoch = self.epoch.wrapping_add(1);
            self.frames_in_epoch = 0;
        }
        self.last_pts = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_step_back_or_a_long_step_forward_opens_an_epoch() {
        let mut line = Timeline::new(10 * SECOND);
        let epochs: Vec<_> = [5, 6, 6, 16, 27, 26, 27, 3]
            .into_iter()
            .map(|s| line.admit(Some(s * SECOND)))
            .map(|s| (s.sequence, s.epoch, s.jumped))
            .collect();
        let expected = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (6, 2), (7, 3)];
        assert_eq!(epochs.iter().map(|e| (e.0, e.1)).collect::<Vec<_>>(), expected);
        assert_eq!(epochs.iter().filter(|e| e.2).count(), 3);
    }

    #[test]
    fn rebuilds_without_frames_share_an_epoch() {
        let mut line = Timeline::new(SECOND);
        line.new_epoch();
        assert_eq!(line.admit(Some(9)).epoch, 0);
        line.new_epoch();
        line.new_epoch();
        let stamp = line.admit(Some(3));
        assert_eq!(stamp, Stamp { sequence: 1, epoch: 1, jumped: false });
        assert_eq!(line.admit(None).epoch, 1);
    }

    proptest! {
        #[test]
        fn sequences_have_no_gap_and_epochs_grow_by_at_most_one(steps in prop::collection::vec(prop::option::of(0u64..40), 1..60)) {
            let mut line = Timeline::new(10);
            let mut last: Option<Stamp> = None;
            for pts in steps {
                let stamp = line.admit(pts);
                if let Some(last) = last {
                    prop_assert_eq!(stamp.sequence, last.sequence + 1);
                    prop_assert_eq!(stamp.epoch, last.epoch + u32::from(stamp.jumped));
                }
                last = Some(stamp);
            }
        }
    }
}
