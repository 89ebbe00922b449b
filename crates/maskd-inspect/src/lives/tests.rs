use maskd_fixed::{
    camera::View,
    events::{Event, Kind, Restart},
    foreground::Foreground,
    objects::{Blob, Look, Object, ObjectsConfig, Template},
    planes::Planes,
    verdict::Measures,
};
use maskd_tracking::tracker::{Followed, Inspection};
use maskd_types::instance::{EndCause, Origin, TrackEvent};

use super::*;
use crate::record::Moment;

fn object(id: u32) -> Object {
    Object {
        id,
        blob: Blob::default(),
        centre: (10.0, 20.0),
        last: (10.0, 20.0),
        velocity: (0.0, 0.0),
        area: 100.0,
        look: Look::default(),
        hits: 3,
        began: (10.0, 14.0),
        travel: 6.0,
        unseen: 0.0,
        still: 0.0,
        age: 0.2,
        confirmed: true,
        contact: false,
        template: Template::default(),
        shift: (0, 0),
        hidden: false,
        part_of: 0,
    }
}

/// A story that is told ten times a second.
#[derive(Default)]
struct Teller {
    story: Story,
    frame: u64,
    fixed: bool,
}

impl Teller {
    /// A frame in which `events` happen; `followed` are instances with their things. What is worth a picture.
    fn tell(&mut self, events: &[(u32, Kind)], tracks: &[TrackEvent], followed: &[(u32, u32)]) -> Vec<Record> {
        let moment = Moment { frame: self.frame, name: String::new(), seconds: self.frame as f64 / 10.0 };
        self.frame += 1;
        let events: Vec<Event> = events.iter().map(|(id, kind)| Event { id: *id, kind: *kind }).collect();
        let things: Vec<Object> = followed.iter().map(|(_, thing)| object(*thing)).collect();
        let view = View {
            measures: Measures { fixed: self.fixed, same: 0.9, shift: (0.0, 0.0) },
            scale: 2,
            background: &Planes::default(),
            distance: &[],
            feature: &[],
            evidence: &[],
            mask: &[],
            things: &things,
            events: &events,
            rules: &ObjectsConfig::default(),
            foreground: &Foreground::default(),
        };
        let track = |(id, thing): &(u32, u32)| Followed { id: *id, palette: *id as u8, thing: Some(*thing) };
        let inspection = Inspection { view, followed: followed.iter().map(track).collect() };
        self.story.take(&moment, Vec::new(), tracks, &inspection)
    }
}

fn appeared(id: InstanceId) -> TrackEvent {
    TrackEvent::Appeared { id, origin: Origin::Discovered }
}

fn lost(id: InstanceId) -> TrackEvent {
    TrackEvent::Ended { id, cause: EndCause::Lost }
}

fn out_of_sight(id: u32) -> (u32, Kind) {
    (id, Kind::Ended { why: End::OutOfSight { seconds: 1.0 } })
}

#[test]
fn two_lives_meet_and_end() {
    let mut teller = Teller { fixed: true, ..Teller::default() };
    let both = [(1, 11), (2, 12)];
    assert_eq!(teller.tell(&[(11, Kind::Born), (12, Kind::Born)], &[], &[]).len(), 1, "the verdict");
    let told = teller.tell(&[(11, Kind::Confirmed), (12, Kind::Confirmed)], &[appeared(1), appeared(2)], &both);
    assert_eq!(told.len(), 2);
    let (touched, parted) = ((11, Kind::Touched { other: 12 }), (11, Kind::Parted { other: 12 }));
    for events in [&[touched][..], &[parted], &[], &[touched], &[], &[parted]] {
        assert!(teller.tell(events, &[], &both).is_empty(), "contacts are worth no picture of their own");
    }
    // Long after.
    (0..8).for_each(|_| drop(teller.tell(&[], &[], &both)));
    teller.tell(&[touched], &[], &both);
    assert_eq!(teller.tell(&[(12, Kind::Ended { why: End::Merged { into: 11 } })], &[], &both).len(), 1);
    teller.tell(&[], &[lost(2)], &both[..1]);

    let lives = lives(&teller.story);
    assert_eq!(lives.iter().map(|life| life.who).collect::<Vec<_>>(), [Who::Instance(1), Who::Instance(2)]);
    let (one, two) = (&lives[0], &lives[1]);
    assert_eq!((one.first, one.published), (Some((0, 0.0)), Some((1, 0.1))));
    let why = one.why.as_deref().unwrap();
    // In pixels of the picture, which is twice as large as what is looked at.
    assert!(why.contains("400 pixels around (20, 40)") && why.contains("3 frames for 0.20 s"), "{why}");
    assert!(why.contains("moved by 12.0 pixels (asked for: 2 frames, 0.075 s, 6.0 pixels)"), "{why}");
    let contact = |other, from, to| Contact { other: Who::Instance(other), from, to: Some(to) };
    assert_eq!(one.contacts, [contact(2, 0.2, 0.7), contact(2, 1.6, 1.7)]);
    assert_eq!(two.contacts, [contact(1, 0.2, 0.7), contact(1, 1.6, 1.7)]);
    assert_eq!(one.notes, [(1.7, "instance 2 proved to be a part of it".to_owned())]);
    assert!(one.end.is_none());
    let (frame, seconds, words) = two.end.clone().unwrap();
    assert_eq!((frame, seconds, words.as_str()), (17, 1.7, "proved to be a part of instance 1; given up at 1.80 s"));
}

#[test]
fn what_comes_back_had_not_ended() {
    let mut teller = Teller { fixed: true, ..Teller::default() };
    teller.tell(&[(3, Kind::Born), (3, Kind::Confirmed)], &[appeared(1)], &[(1, 3)]);
    teller.tell(&[out_of_sight(3)], &[], &[(1, 3)]);
    teller.tell(&[(4, Kind::Born), (4, Kind::Confirmed)], &[], &[(1, 4)]);
    let lives = lives(&teller.story);
    assert!(lives.len() == 1 && lives[0].end.is_none(), "{lives:?}");
    let notes: Vec<&str> = lives[0].notes.iter().map(|(_, words)| words.as_str()).collect();
    assert_eq!(notes, ["was out of sight for 1.0 s", "is seen again, and known by its place and its look"]);
}

#[test]
fn what_is_seen_again_does_not_end_with_what_it_was_before() {
    let mut teller = Teller { fixed: true, ..Teller::default() };
    teller.tell(&[(3, Kind::Born), (3, Kind::Confirmed)], &[appeared(1)], &[(1, 3)]);
    teller.tell(&[(4, Kind::Born), (4, Kind::Confirmed)], &[], &[(1, 4)]);
    teller.tell(
        &[(3, Kind::Touched { other: 4 }), (3, Kind::Ended { why: End::Hidden { seconds: 3.0 } })],
        &[],
        &[(1, 4)],
    );
    let before = lives(&teller.story);
    assert!(before[0].end.is_none() && before[0].contacts.is_empty(), "{before:?}");
    teller.tell(&[out_of_sight(4)], &[], &[(1, 4)]);
    assert_eq!(lives(&teller.story)[0].end.as_ref().unwrap().2, "was out of sight for 1.0 s");
}

#[test]
fn what_came_apart_is_told_once_it_is_a_thing() {
    let mut teller = Teller { fixed: true, ..Teller::default() };
    teller.tell(&[(3, Kind::Born), (3, Kind::Confirmed)], &[appeared(1)], &[(1, 3)]);
    let apart = |id| [(id, Kind::Born), (id, Kind::CameApart { from: 3 })];
    teller.tell(&apart(4), &[], &[(1, 3)]);
    teller.tell(&apart(5), &[], &[(1, 3)]);
    teller.tell(&[(4, Kind::Confirmed), out_of_sight(5)], &[appeared(2)], &[(1, 3), (2, 4)]);
    let lives = lives(&teller.story);
    assert_eq!(teller.story.candidates, (1, 0));
    assert_eq!(lives[0].notes, [(0.3, "instance 2 came apart from it".to_owned())]);
    assert_eq!(lives[1].notes, [(0.3, "came apart from instance 1 at 0.10 s".to_owned())]);
}

#[test]
fn of_a_moving_camera_only_what_was_published_is_told() {
    let mut teller = Teller::default();
    teller.tell(&[(1, Kind::Born), (2, Kind::Born), (1, Kind::Confirmed)], &[appeared(1)], &[]);
    let restarted = Kind::Restarted { why: Restart::Another };
    teller.tell(&[out_of_sight(1), out_of_sight(2), (0, restarted)], &[lost(1)], &[]);
    assert_eq!(teller.story.candidates, (0, 1));
    // Known before the camera was, and published since.
    teller.tell(&[(3, Kind::Born), (3, Kind::Confirmed)], &[appeared(2)], &[]);
    teller.fixed = true;
    teller.tell(&[], &[], &[(2, 3)]);
    teller.fixed = false;
    teller.tell(&[(3, Kind::Ended { why: End::Restarted }), (0, restarted)], &[], &[]);
    let lives = lives(&teller.story);
    assert_eq!(lives.iter().map(|life| life.who).collect::<Vec<_>>(), [Who::Instance(1), Who::Instance(2)]);
    assert!(lives[0].why.as_deref().unwrap().contains("looks like an object"), "{lives:?}");
    assert!(lives[0].end.as_ref().unwrap().2.contains("is given up"), "{lives:?}");
    assert!(lives[1].end.as_ref().unwrap().2.contains("the scene is learnt anew"), "{lives:?}");
}
