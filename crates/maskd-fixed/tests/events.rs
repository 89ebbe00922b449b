//! What is told of things and of the scene: drawn scenes of which it is known what happens in them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::ops::Range;

use maskd_fixed::{
    camera::Config,
    events::{End, Kind, Restart},
};
use maskd_types::frame::Size;
use support::{BLUE, DARK, HEIGHT, RED, Shot, Stage, Thing, WIDTH, walk};

/// When, of which thing, and what.
type Told = (f32, u32, Kind);

/// Shows a film, ten pictures a second; what was told of things that became known as such, and of the camera.
fn play<'a>(stage: &mut Stage, times: Range<f32>, film: impl Fn(f32) -> Shot<'a>) -> Vec<Told> {
    let count = ((times.end - times.start) / 0.1).round() as usize;
    let mut told: Vec<Told> = Vec::new();
    for t in (0..count).map(|i| times.start + i as f32 * 0.1) {
        stage.show(&film(t), 0.1);
        told.extend(stage.camera.inspect().events.iter().map(|event| (t, event.id, event.kind)));
    }
    let known = |id: u32| id == 0 || told.iter().any(|(_, other, kind)| *other == id && *kind == Kind::Confirmed);
    told.iter().filter(|(_, id, _)| known(*id)).copied().collect()
}

/// When something was told, the first time.
fn when(told: &[Told], what: impl Fn(u32, Kind) -> bool) -> f32 {
    told.iter().find(|(_, id, kind)| what(*id, *kind)).unwrap_or_else(|| panic!("not told: {told:?}")).0
}

#[test]
fn a_thing_is_born_becomes_known_and_leaves_at_the_border() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(6);
    assert_eq!(play(&mut stage, 0.0..3.0, |_| Shot::default()), []);
    // It is in the picture from 3 s to 9.0 s.
    let told = play(&mut stage, 3.0..11.0, |t| walk(&thing, 3.0, 30.0, t));
    let born = when(&told, |_, kind| kind == Kind::Born);
    let known = when(&told, |_, kind| kind == Kind::Confirmed);
    let left =
        when(&told, |_, kind| matches!(kind, Kind::Ended { why: End::LeftAtBorder { seconds } } if seconds > 0.2));
    assert!(3.0 < born && born < known && known < 4.5 && (9.0..10.0).contains(&left), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn two_that_meet_touch_and_part() {
    let things = [Thing::ellipse(20.0, 40.0, RED), Thing::ellipse(20.0, 40.0, BLUE)];
    let mut stage = Stage::new(13);
    play(&mut stage, 0.0..3.0, |_| Shot::default());
    let x = |t: f32| 15.0 + 30.0 * (t - 3.0);
    let film = |t: f32| Shot::of(&[(&things[0], (x(t), 60.0)), (&things[1], (160.0 - x(t), 64.0))]);
    let told = play(&mut stage, 3.0..7.4, film);
    // Their middles pass each other at 5.17 s, and they touch for a third of a second before and after.
    let touched = when(&told, |_, kind| matches!(kind, Kind::Touched { .. }));
    let parted = told.iter().rfind(|(_, _, kind)| matches!(kind, Kind::Parted { .. })).unwrap();
    assert!((4.4..5.1).contains(&touched) && (5.2..6.2).contains(&parted.0), "{told:?}");
    let pairs = told.iter().filter_map(|(_, id, kind)| match kind {
        Kind::Touched { other } | Kind::Parted { other } => Some((*id, *other)),
        _ => None,
    });
    let ids: Vec<u32> = told.iter().filter(|(_, _, kind)| *kind == Kind::Confirmed).map(|(_, id, _)| *id).collect();
    assert!(
        ids.len() == 2 && pairs.into_iter().all(|pair| pair == (ids[0].min(ids[1]), ids[0].max(ids[1]))),
        "{told:?}"
    );
}

#[test]
fn what_stays_becomes_part_of_the_scene() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(6);
    let mut config = Config::default();
    config.objects.still_s = 3.0;
    stage.camera.configure(config);
    let x = |t: f32| -10.0 + 30.0 * (t - 3.0).clamp(0.0, 3.0);
    let told = play(&mut stage, 0.0..14.0, |t| Shot::of(&[(&thing, (x(t), 60.0))]));
    let furniture =
        when(&told, |_, kind| matches!(kind, Kind::Ended { why: End::Furniture { seconds } } if seconds > 3.0));
    assert!((8.5..11.0).contains(&furniture), "{told:?}");
}

#[test]
fn two_who_came_as_one_come_apart() {
    let (one, other) = (Thing::ellipse(18.0, 44.0, DARK), Thing::ellipse(16.0, 40.0, RED));
    let mut stage = Stage::new(4);
    play(&mut stage, 0.0..3.0, |_| Shot::default());
    // Side by side until 5 s; then the other falls behind by 15 pixels a second.
    let x = |t: f32| -10.0 + 30.0 * (t - 3.0);
    let film = |t: f32| Shot::of(&[(&one, (x(t), 60.0)), (&other, (x(t) - 12.0 - 15.0 * (t - 5.0).max(0.0), 62.0))]);
    let told = play(&mut stage, 3.0..8.0, film);
    let known: Vec<(f32, u32)> =
        told.iter().filter(|(_, _, kind)| *kind == Kind::Confirmed).map(|(t, id, _)| (*t, *id)).collect();
    assert!(known.len() == 2 && known[0].0 < 5.0, "{told:?}");
    let apart = when(&told, |id, kind| id == known[1].1 && kind == Kind::CameApart { from: known[0].1 });
    assert!((5.2..6.8).contains(&apart) && apart < known[1].0, "{told:?}");
}

#[test]
fn a_part_that_joins_its_whole_has_merged() {
    let (body, head) = (Thing::rectangle(20.0, 34.0, DARK), Thing::rectangle(14.0, 14.0, RED));
    let mut stage = Stage::new(4);
    play(&mut stage, 0.0..3.0, |_| Shot::default());
    // For the first while there is a gap between them: it takes longer then until they are known to be one.
    let x = |t: f32| 20.0 + 30.0 * (t - 3.0);
    let film = |t: f32| {
        let gap = if t < 3.6 { 12.0 } else { 0.0 };
        Shot::of(&[(&body, (x(t), 74.0)), (&head, (x(t), 50.0 - gap))])
    };
    let told = play(&mut stage, 3.0..6.0, film);
    let known: Vec<u32> = told.iter().filter(|(_, _, kind)| *kind == Kind::Confirmed).map(|(_, id, _)| *id).collect();
    let merged = when(
        &told,
        |id, kind| matches!(kind, Kind::Ended { why: End::Merged { into } } if into != id && known.contains(&into)),
    );
    assert!(known.len() == 2 && (3.6..5.2).contains(&merged), "{told:?}");
}

#[test]
fn why_the_scene_is_learnt_anew_is_told_and_ends_what_is_there() {
    let thing = &Thing::ellipse(20.0, 40.0, DARK);
    let x = |t: f32| -10.0 + 30.0 * (t - 2.0).clamp(0.0, 2.5);
    let still = |view: f32| move |t: f32| Shot::of(&[(thing, (view + x(t), 60.0))]).view(view, 0.0);
    let restarts = |told: &[Told]| {
        let of = |(_, id, kind): &Told| match kind {
            Kind::Restarted { why } => Some((*id, *why)),
            _ => None,
        };
        told.iter().filter_map(of).collect::<Vec<_>>()
    };
    let ended = |told: &[Told]| told.iter().any(|(_, _, kind)| *kind == Kind::Ended { why: End::Restarted });

    let mut stage = Stage::new(12);
    let told = play(&mut stage, 0.0..5.0, still(0.0));
    assert!(restarts(&told).is_empty() && !ended(&told), "nobody need be told of the first picture: {told:?}");
    let first = told.iter().map(|(_, id, _)| *id).max().unwrap();
    play(&mut stage, 5.0..5.1, still(900.0));
    let mut told = Vec::new();
    while restarts(&told).is_empty() && stage.camera.fixed() {
        stage.show(&still(900.0)(5.0), 0.1);
        told.extend(stage.camera.inspect().events.iter().map(|event| (0.0, event.id, event.kind)));
    }
    assert!(restarts(&told) == [(0, Restart::Another)] && ended(&told), "{told:?}");
    assert_eq!(restarts(&play(&mut stage, 6.0..9.0, still(900.0))), []);

    // Whoever knows of a cut is told of it by the next step, and identities are not given again.
    let walking = |t: f32| walk(thing, 9.0, 30.0, t);
    stage.camera.cut();
    let told = play(&mut stage, 9.0..13.0, walking);
    assert_eq!(restarts(&told), [(0, Restart::Cut)], "{told:?}");
    assert!(told.iter().all(|(_, id, _)| *id == 0 || *id > first), "{told:?}");

    let size = Size::new(80, 60);
    stage.camera.step(&vec![90; size.area() * 3], size, None, 0.1);
    let events = stage.camera.inspect().events;
    assert!(events.iter().any(|event| event.kind == Kind::Restarted { why: Restart::Size }), "{events:?}");
}

#[test]
fn a_view_shows_what_the_step_saw() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(6);
    assert!(stage.camera.inspect().mask.is_empty());
    play(&mut stage, 0.0..3.0, |_| Shot::default());
    play(&mut stage, 3.0..6.0, |t| walk(&thing, 3.0, 30.0, t));
    let shown = stage.show(&walk(&thing, 3.0, 30.0, 6.0), 0.1);
    let view = stage.camera.inspect();
    assert!(view.measures.fixed && view.measures.same > 0.9 && view.scale == 1, "{:?}", view.measures);
    assert_eq!((view.background.width, view.background.height), (WIDTH, HEIGHT));
    assert!(view.feature.is_empty(), "there are no features");
    // The background shows what is behind the thing; the other planes show the thing.
    let on: Vec<usize> = (0..WIDTH * HEIGHT).filter(|p| shown.truth[*p] == 1).collect();
    let mean = |of: &dyn Fn(usize) -> f32| on.iter().map(|p| of(*p)).sum::<f32>() / on.len() as f32;
    assert!(mean(&|p| view.background.v[p]) < 20.0 && mean(&|p| view.distance[p]) > 10.0);
    assert!(mean(&|p| view.evidence[p]) > 1.0 && mean(&|p| f32::from(u8::from(view.mask[p]))) > 0.8);
    let known = view.things.iter().find(|thing| thing.confirmed).unwrap();
    assert!(known.travel >= view.rules.least_travel(known.area) && known.hits >= view.rules.hits);
}
