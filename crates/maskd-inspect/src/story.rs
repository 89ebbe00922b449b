//! All that happened in a clip, frame by frame: records, measures of the camera, and which instance each thing is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use maskd_fixed::{
    events::{End, Event, Kind},
    objects::PERSISTS_S,
    verdict::Measures,
};
use maskd_tracking::tracker::Inspection;
use maskd_types::instance::{InstanceId, TrackEvent};

use crate::record::{Moment, Proof, Record, What, Who};

/// What a frame was judged by, and how much is in it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The frame's number.
    pub frame: u64,
    /// Seconds since the first frame.
    pub seconds: f64,
    /// The verdict on the camera and its measures; the shift in pixels of the picture.
    pub camera: Measures,
    /// Share of the picture that is foreground.
    pub foreground: f32,
    /// Instances in sight.
    pub instances: Vec<InstanceId>,
    /// What moves and is not known to be a thing.
    pub candidates: usize,
}

/// When a candidate was first seen, as frame and seconds, and which thing it came apart from.
#[derive(Clone, Copy, Debug)]
struct Birth {
    first: (u64, f64),
    from: Option<u32>,
}

/// The story.
#[derive(Debug, Default)]
pub struct Story {
    /// What happened, in order.
    pub records: Vec<Record>,
    /// Of each frame.
    pub measures: Vec<Measured>,
    /// Label of each instance in published maps, by which it is coloured.
    pub palette: BTreeMap<InstanceId, u8>,
    /// Candidates that ended without becoming things, while the camera was known to be fixed, and while it was not.
    pub candidates: (u64, u64),
    /// Candidates and things that are there.
    births: HashMap<u32, Birth>,
    /// Known to be things.
    known: HashSet<u32>,
    /// The instances that each thing was published as, and from when on.
    names: HashMap<u32, Vec<(f64, InstanceId)>>,
    /// Instances that move before a fixed camera.
    moving: BTreeSet<InstanceId>,
    appeared: BTreeSet<InstanceId>,
    fixed: bool,
}

impl Story {
    /// Takes a frame in which `instances` are in sight and `events` happened to instances. Returns what happened in it that is
    /// worth a picture: things that were published, came apart, merged, ended; verdicts.
    pub fn take(
        &mut self,
        moment: &Moment,
        instances: Vec<InstanceId>,
        events: &[TrackEvent],
        inspection: &Inspection,
    ) -> Vec<Record> {
        let (view, start) = (&inspection.view, self.records.len());
        self.measure(moment, instances, inspection);
        if self.fixed != view.measures.fixed {
            self.fixed = view.measures.fixed;
            self.record(moment, Who::Camera, What::Verdict { fixed: self.fixed });
        }
        // First of all, who is who: things are named by it.
        let mut named = Vec::new();
        for track in &inspection.followed {
            self.palette.insert(track.id, track.palette);
            let Some(thing) = track.thing else { continue };
            let names = self.names.entry(thing).or_default();
            if names.last().is_none_or(|(_, id)| *id != track.id) {
                names.push((moment.seconds, track.id));
                named.push((thing, track.id));
            }
        }
        for event in view.events {
            self.happened(moment, event);
        }
        for event in events {
            match *event {
                TrackEvent::Appeared { id, origin } => {
                    let thing = named.iter().find(|(_, named)| *named == id);
                    let proof = thing.and_then(|(thing, _)| self.proof(*thing, inspection));
                    self.record(moment, Who::Instance(id), proof.map_or(What::Appeared(origin), What::Published));
                }
                TrackEvent::Ended { id, cause } => {
                    let what = What::Ended { cause, moved: self.moving.contains(&id), fixed: self.fixed };
                    self.record(moment, Who::Instance(id), what);
                }
            }
        }
        for (_, id) in named {
            let (known, moved) = (self.appeared.contains(&id), !self.moving.insert(id));
            if known {
                self.record(moment, Who::Instance(id), if moved { What::Returned } else { What::Moves });
            }
        }
        self.appeared.extend(inspection.followed.iter().map(|track| track.id));
        let worth = |what: &What| !matches!(what, What::Touched(_) | What::Parted(_) | What::Restarted(_));
        self.records[start..].iter().filter(|record| worth(&record.what)).cloned().collect()
    }

    /// What a thing was published as at that time; itself where it was not, or not yet.
    pub fn name(&self, thing: u32, seconds: f64) -> Who {
        let names = self.names.get(&thing).map_or(&[][..], Vec::as_slice);
        let then = names.iter().rfind(|(from, _)| *from <= seconds).or(names.first());
        then.map_or(Who::Thing(thing), |(_, id)| Who::Instance(*id))
    }

    /// Whom a record is about.
    pub fn about(&self, record: &Record) -> Who {
        match record.who {
            Who::Thing(thing) => self.name(thing, record.seconds),
            who => who,
        }
    }

    /// What happened, in words that follow the name of whom it happened to.
    pub fn words(&self, record: &Record) -> String {
        record.what.words(&|thing| spoken(self.name(thing, record.seconds)))
    }

    /// What happened, in words.
    pub fn sentence(&self, record: &Record) -> String {
        format!("{} {}", spoken(self.about(record)), self.words(record))
    }

    /// Whether nothing else has been published since as what the thing is: an instance that was seen again is another thing.
    pub fn is_current(&self, thing: u32, seconds: f64) -> bool {
        let Who::Instance(id) = self.name(thing, seconds) else { return true };
        let since = |names: &[(f64, InstanceId)]| {
            names.iter().filter(|(from, named)| *named == id && *from <= seconds).map(|(from, _)| *from).next_back()
        };
        let own = self.names.get(&thing).and_then(|names| since(names));
        self.names.iter().all(|(other, names)| *other == thing || since(names) <= own)
    }

    fn record(&mut self, moment: &Moment, who: Who, what: What) {
        self.records.push(Record { frame: moment.frame, seconds: moment.seconds, who, what });
    }

    fn measure(&mut self, moment: &Moment, instances: Vec<InstanceId>, inspection: &Inspection) {
        let view = &inspection.view;
        let scale = view.scale as f32;
        let shift = (scale * view.measures.shift.0, scale * view.measures.shift.1);
        let set = view.mask.iter().filter(|set| **set).count();
        self.measures.push(Measured {
            frame: moment.frame,
            seconds: moment.seconds,
            camera: Measures { shift, ..view.measures },
            foreground: set as f32 / view.mask.len().max(1) as f32,
            instances,
            candidates: view.things.iter().filter(|thing| !thing.confirmed).count(),
        });
    }

    /// Takes what a step tells. Of things that nobody was told of, while the camera was not known to be fixed, nothing is kept.
    fn happened(&mut self, moment: &Moment, event: &Event) {
        let what = match event.kind {
            Kind::Born => {
                self.births.insert(event.id, Birth { first: (moment.frame, moment.seconds), from: None });
                return;
            }
            Kind::CameApart { from } => {
                self.births.entry(event.id).and_modify(|birth| birth.from = Some(from));
                return;
            }
            Kind::Confirmed => {
                self.known.insert(event.id);
                let birth = self.births.get(&event.id).and_then(|birth| Some((birth.from?, birth.first.1)));
                let Some((from, seconds)) = birth else { return };
                What::CameApart { from, seconds }
            }
            Kind::Restarted { why } => return self.record(moment, Who::Camera, What::Restarted(why)),
            Kind::Touched { other } => What::Touched(other),
            Kind::Parted { other } => What::Parted(other),
            Kind::Ended { why } => {
                self.births.remove(&event.id);
                if !self.known.remove(&event.id) {
                    // The scene is forgotten in the step in which the camera is no longer known to be fixed.
                    let still = self.fixed && why != End::Restarted;
                    *if still { &mut self.candidates.0 } else { &mut self.candidates.1 } += 1;
                    return;
                }
                What::Left(why)
            }
        };
        if self.fixed || self.names.contains_key(&event.id) {
            self.record(moment, Who::Thing(event.id), what);
        }
    }

    fn proof(&self, thing: u32, inspection: &Inspection) -> Option<Proof> {
        let (view, scale) = (&inspection.view, inspection.view.scale as f32);
        let found = view.things.iter().find(|found| found.id == thing)?;
        Some(Proof {
            first: self.births.get(&thing).map(|birth| birth.first),
            place: (scale * found.centre.0, scale * found.centre.1),
            area: scale * scale * found.area,
            frames: (found.hits, view.rules.hits),
            seconds: (found.age, PERSISTS_S),
            travel: (scale * found.travel, scale * view.rules.least_travel(found.area)),
        })
    }
}

/// A name as people say it.
pub fn spoken(who: Who) -> String {
    match who {
        Who::Camera => "the camera".to_owned(),
        Who::Instance(id) => format!("instance {id}"),
        Who::Thing(thing) => format!("thing {thing}"),
    }
}
