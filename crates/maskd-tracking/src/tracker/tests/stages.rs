//! Stages alone: a state, a frame, one call.

use super::*;
use crate::tracker::{
    fixed_camera::FixedCamera,
    instances::{self, Beginning, Instances},
    last_frame::LastFrame,
    output,
    requests::{self, Requests},
    scene::Scene,
    scene_snapshot,
    schedule::{self, Schedule},
};

const HERE: Thing = Thing { look: 1, row: 2, col: 3, rows: 4, cols: 4 };
const THERE: Thing = Thing { look: 2, row: 6, col: 12, rows: 4, cols: 4 };

/// A frame of the two things, of which no stage knows anything yet.
fn frame(config: &TrackerConfig) -> FrameContext<'_> {
    let features = fixed(0, &[HERE, THERE]);
    FrameContext::new(Input { features, colours: None, picture: None, source: SIZE, epoch: 0 }, config, PATCH)
}

/// Both things as instances, the first discovered, the second asked for.
fn two(frame: &mut FrameContext<'_>) -> Instances {
    let mut instances = Instances::default();
    for (thing, origin) in [(HERE, Origin::Discovered), (THERE, Origin::Prompt)] {
        instances.start(Beginning::new(&thing.patches(GRID), origin), frame);
    }
    frame.events.clear();
    instances
}

#[test]
fn who_is_out_of_sight_for_longer_than_the_limit_ends_and_its_patches_are_background() {
    let config = TrackerConfig { lost_after_frames: 8, ..quick() };
    for (unseen, ends) in [(8, false), (9, true)] {
        let mut frame = frame(&config);
        let mut instances = two(&mut frame);
        instances.tracks[0].frames_since_seen = unseen;
        instances::end_lost(&mut instances, &mut frame);
        let left: Vec<InstanceId> = instances.tracks.iter().map(|track| track.id).collect();
        assert_eq!(left, if ends { vec![2] } else { vec![1, 2] });
        assert_eq!(frame.events, if ends { vec![TrackEvent::Ended { id: 1, cause: EndCause::Lost }] } else { vec![] });
        assert_eq!(frame.soft.channels, left.len() + 1);
        // The second instance's channel moved up with it.
        assert_eq!(frame.patches_of(left.len()), THERE.patches(GRID));
    }
}

#[test]
fn a_prompt_ends_the_discovered_instance_whose_patches_it_takes_and_no_other() {
    let config = quick();
    let mut frame = frame(&config);
    let (mut instances, mut requests, mut snapshot) = (two(&mut frame), Requests::default(), None);
    for thing in [HERE, THERE] {
        let mask = Rle::from_mask(SIZE, &pixels(&thing.patches(GRID)));
        requests.ask(Prompt::Mask { mask }, Some(SIZE), 1, 9).unwrap();
    }
    requests::apply_prompts(&mut requests, &mut instances, &mut snapshot, &mut frame);
    let ended = TrackEvent::Ended { id: 1, cause: EndCause::Replaced };
    let appeared = |id| TrackEvent::Appeared { id, origin: Origin::Prompt };
    assert_eq!(frame.events, [ended, appeared(3), appeared(4)]);
    assert_eq!((frame.drawn.as_slice(), instances.tracks.len()), ([3, 4].as_slice(), 3));
    frame.events.clear();
    requests::apply_prompts(&mut requests, &mut instances, &mut snapshot, &mut frame);
    assert!(frame.events.is_empty(), "each prompt is applied once");
}

#[test]
fn a_first_mask_takes_the_place_of_all_instances_and_keeps_its_labels() {
    let config = quick();
    let mut frame = frame(&config);
    let (mut instances, mut requests, mut snapshot) = (two(&mut frame), Requests::default(), None);
    requests.start_from(first(&[THERE]));
    requests::apply_first_mask(&mut requests, &mut instances, &mut snapshot, &mut frame);
    let known: Vec<_> = instances.tracks.iter().map(|track| (track.id, track.palette, track.origin)).collect();
    assert_eq!(known, [(3, 1, Origin::FirstMask)]);
    assert_eq!(frame.patches_of(1), THERE.patches(GRID));
    assert_eq!(frame.events.len(), 3);
}

#[test]
fn the_next_frame_is_searched_for_a_cause() {
    let config = TrackerConfig { rediscover_every: 50, rediscover_gap: 10, ..quick() };
    let camera = FixedCamera::new(config.fixed.camera());
    type Cause = fn(&mut Schedule, &mut Scene, &mut FrameContext<'_>);
    let causes: [(&str, Cause, bool); 7] = [
        ("nothing", |_, _, _| (), false),
        ("a cut", |_, _, frame| frame.cut = true, true),
        ("missed frames", |_, _, frame| frame.missed = true, true),
        ("fifty frames", |schedule, _, _| schedule.since_search = 49, true),
        ("something lost just after a search", |schedule, _, _| schedule.lost_something = true, false),
        ("something lost", |schedule, _, _| (schedule.lost_something, schedule.since_search) = (true, 10), true),
        ("a new scene", |_, scene, _| scene.frames = 15, true),
    ];
    for (what, cause, due) in causes {
        let (mut schedule, mut scene) = (Schedule::new(false), Scene { frames: 100, ..Scene::default() });
        let mut frame = frame(&config);
        cause(&mut schedule, &mut scene, &mut frame);
        schedule::decide(&mut schedule, &mut scene, &Instances::default(), &camera, &frame);
        assert_eq!(schedule.due, due, "{what}");
        schedule::begin(&mut schedule, &mut frame);
        assert_eq!((frame.search, schedule.due), (due, false), "{what}: it is taken up once");
    }
}

#[test]
fn labels_of_channels_become_masks_and_palette_indices() {
    let config = quick();
    let mut frame = frame(&config);
    let mut instances = two(&mut frame);
    (instances.tracks[0].palette, instances.tracks[1].palette) = (7, 9);
    frame.labels = first(&[HERE, THERE]);
    output::encode(&instances, &mut frame);
    let published: Vec<_> =
        frame.instances.iter().map(|i| (i.id, i.area, i.mask.decode(Some(SIZE)).unwrap())).collect();
    let expected = |id, thing: Thing| (id, 256, pixels(&thing.patches(GRID)));
    assert_eq!(published, [expected(1, HERE), expected(2, THERE)]);
    assert_eq!(iou(&frame.labels, 7, HERE) + iou(&frame.labels, 9, THERE), 2.0);
    assert_eq!(frame.salient, [1], "only what was discovered is ranked");
}

#[test]
fn who_ended_is_taken_out_of_the_snapshot() {
    let config = quick();
    let mut frame = frame(&config);
    let mut instances = two(&mut frame);
    let mut last = LastFrame { features: Some(frame.features.clone()), ..Default::default() };
    let (mut snapshot, mut scene) = (None, Scene::default());
    scene_snapshot::leave(&mut snapshot, &instances, &scene, &last, &frame);
    instances.end(0, EndCause::Lost, &mut frame);
    scene_snapshot::forget_ended(&mut snapshot, &frame);
    // The same picture again: the scene is back.
    scene_snapshot::restore(&mut snapshot, &mut instances, &mut scene, &mut last, &mut frame);
    let known: Vec<InstanceId> = instances.tracks.iter().map(|track| track.id).collect();
    assert_eq!((known, frame.missed), (vec![2], true));
}
