//! What has happened in one step to things, and to what is known of the scene: for people who want to know why.

use std::collections::BTreeSet;

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The thing's identity; 0 where it concerns the camera.
    pub id: u32,
    /// What.
    pub kind: Kind,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Something differs from the scene that nothing was known of: a candidate.
    Born,
    /// It came apart from another thing; follows [`Kind::Born`].
    CameApart {
        /// From which.
        from: u32,
    },
    /// It is known to be a thing, and published where the camera is known to be fixed.
    Confirmed,
    /// It touches or covers another thing, or is covered by it. Told once for both, of the lower identity.
    Touched {
        /// The other thing.
        other: u32,
    },
    /// It touches the other no longer, while both are there.
    Parted {
        /// The other thing.
        other: u32,
    },
    /// It will not be seen again under this identity.
    Ended {
        /// Why.
        why: End,
    },
    /// The scene is learnt anew.
    Restarted {
        /// Why.
        why: Restart,
    },
}

/// Why a thing ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// It was out of sight.
    OutOfSight {
        /// Seconds that it was.
        seconds: f32,
    },
    /// It was hidden behind another, and did not come out again.
    Hidden {
        /// Seconds that it was.
        seconds: f32,
    },
    /// It was out of sight, and at the border when it was last seen.
    LeftAtBorder {
        /// Seconds that it was out of sight.
        seconds: f32,
    },
    /// It proved to be a part of another thing.
    Merged {
        /// Of which.
        into: u32,
    },
    /// It stood still for so long that it is part of the scene.
    Furniture {
        /// Seconds that it stood still.
        seconds: f32,
    },
    /// The scene is learnt anew.
    Restarted,
}

/// Why the scene is learnt anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Pictures have another size.
    Size,
    /// Too little looks like the scene, or the picture has moved on: the camera was turned, or pans.
    Another,
    /// Whoever shows the pictures said that nothing of the last one is in this one.
    Cut,
}

/// The events of the last step.
#[derive(Debug, Default)]
pub struct Events {
    list: Vec<Event>,
    /// A step has ended since the first of `list`.
    over: bool,
    /// Pairs of things that touch each other, the lower identity first: before this step, and in it.
    touching: BTreeSet<(u32, u32)>,
    meeting: BTreeSet<(u32, u32)>,
}

impl Events {
    /// Those of the last step, in the order in which they happened.
    pub fn list(&self) -> &[Event] {
        &self.list
    }

    /// A step begins. What has happened since the last one ended belongs to it.
    pub(crate) fn begin(&mut self) {
        if std::mem::take(&mut self.over) {
            self.list.clear();
        }
    }

    /// The step is over.
    pub(crate) fn end(&mut self) {
        self.begin();
        self.over = true;
    }

    pub(crate) fn push(&mut self, id: u32, kind: Kind) {
        self.begin();
        self.list.push(Event { id, kind });
    }

    /// These things share a piece of the foreground.
    pub(crate) fn meet(&mut self, things: &[u32]) {
        for (i, &a) in things.iter().enumerate() {
            self.meeting.extend(things[i + 1..].iter().map(|&b| (a.min(b), a.max(b))));
        }
    }

    /// All that meet have been named: tells what touches now and did not, and the other way round.
    pub(crate) fn settle(&mut self, lives: impl Fn(u32) -> bool) {
        let before = std::mem::replace(&mut self.touching, std::mem::take(&mut self.meeting));
        self.touching.retain(|(a, b)| lives(*a) && lives(*b));
        let touched: Vec<_> = self.touching.difference(&before).copied().collect();
        for (id, other) in touched {
            self.push(id, Kind::Touched { other });
        }
        let parted = before.into_iter().filter(|pair| !self.touching.contains(pair));
        for (id, other) in parted.filter(|(a, b)| lives(*a) && lives(*b)).collect::<Vec<_>>() {
            self.push(id, Kind::Parted { other });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_told_when_they_begin_and_end_to_touch() {
        let mut events = Events::default();
        let mut step = |meet: &[u32], dead: u32| {
            events.begin();
            events.meet(meet);
            events.settle(|id| id != dead);
            let told = events.list().to_vec();
            events.end();
            told
        };
        let touched = |id, other| Event { id, kind: Kind::Touched { other } };
        assert_eq!(step(&[5, 2, 3], 0), [touched(2, 3), touched(2, 5), touched(3, 5)]);
        assert_eq!(step(&[2, 3, 5], 0), []);
        // What has ended does not part.
        assert_eq!(step(&[2], 5), [Event { id: 2, kind: Kind::Parted { other: 3 } }]);
    }

    #[test]
    fn what_happens_between_two_steps_belongs_to_the_next() {
        let mut events = Events::default();
        events.begin();
        events.push(1, Kind::Born);
        events.end();
        events.push(0, Kind::Restarted { why: Restart::Cut });
        events.begin();
        events.push(2, Kind::Born);
        let ids: Vec<u32> = events.list().iter().map(|event| event.id).collect();
        assert_eq!(ids, [0, 2]);
        events.end();
        assert_eq!(events.list().len(), 2);
        events.begin();
        assert!(events.list().is_empty());
    }
}
