//! What people ask for.

use super::*;

#[test]
fn prompts_find_the_thing_by_what_it_looks_like() {
    let thing = Thing::new(1, (3, 5), (4, 5));
    let other = Thing::new(2, (3, 10), (4, 5));
    let loose = BBox { x: 16, y: 8, width: 28, height: 24 };
    let prompts = [
        Prompt::Box { bbox: loose },
        Prompt::Points { positive: vec![[24, 16]], negative: vec![] },
        Prompt::Points { positive: vec![[24, 16]], negative: vec![[42, 16], [0, 0]] },
        Prompt::Mask { mask: Rle::from_mask(SIZE, &pixels(&thing.patches(GRID))) },
    ];
    for prompt in prompts {
        let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
        tracker.step(fixed(0, &[thing, other]), SIZE, 0);
        tracker.prompt(prompt.clone()).unwrap();
        for t in 1..6 {
            let tracked = tracker.step(fixed(t, &[thing, other]), SIZE, 0);
            check(&tracker, &tracked);
            assert_eq!(ids(&tracked), [1]);
            let found = iou(&tracked.labels, 1, thing);
            assert!(found > 0.8, "{prompt:?} frame {t}: {found}");
        }
    }
}

#[test]
fn a_box_smaller_than_a_patch_gives_the_patch_under_it() {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, gating: false, ..quick() }, PATCH);
    tracker.prompt(Prompt::Box { bbox: BBox { x: 71, y: 47, width: u32::MAX, height: 1 } }).unwrap();
    tracker.prompt(Prompt::Box { bbox: BBox { x: 9, y: 9, width: 1, height: 1 } }).unwrap();
    let tracked = tracker.step(fixed(0, &[]), SIZE, 0);
    check(&tracker, &tracked);
    assert_eq!(tracked.labels.labels[10 * 72 + 10], 2);
}

#[test]
fn refused_prompts_name_what_is_wrong() {
    let mut tracker = Tracker::new(TrackerConfig { max_instances: 2, discovery: false, ..quick() }, PATCH);
    tracker.step(fixed(0, &[]), SIZE, 0);
    let at = |x, y, width, height| Prompt::Box { bbox: BBox { x, y, width, height } };
    let mut refusal = |prompt: Prompt| tracker.prompt(prompt).unwrap_err().to_string();
    assert!(refusal(at(0, 0, 0, 4)).contains("the box is 0x4"));
    assert!(refusal(at(72, 0, 4, 4)).contains("(72, 0) is outside the 72x48 frame"));
    let points = |positive: Vec<[u32; 2]>| Prompt::Points { positive, negative: vec![] };
    assert!(refusal(points(vec![])).contains("no positive point"));
    assert!(refusal(points(vec![[0, 48]])).contains("a point at (0, 48)"));
    assert!(refusal(points(vec![[0, 0]; 300])).contains("300 points"));
    let wrong = Rle::from_mask(Size::new(4, 4), &[true; 16]);
    assert!(refusal(Prompt::Mask { mask: wrong }).contains("4x4"));
    let empty = Rle::from_mask(SIZE, &vec![false; SIZE.area()]);
    assert!(refusal(Prompt::Mask { mask: empty }).contains("empty"));
    tracker.prompt(at(0, 0, 9, 9)).unwrap();
    tracker.prompt(at(30, 30, 9, 9)).unwrap();
    assert!(matches!(tracker.prompt(at(50, 30, 9, 9)), Err(PromptError::TooManyInstances(2))));
    tracker.step(fixed(1, &[]), SIZE, 0);
    assert!(matches!(tracker.prompt(at(50, 30, 9, 9)), Err(PromptError::TooManyInstances(2))));
    tracker.prompt(Prompt::Reset).unwrap();
    tracker.prompt(at(50, 30, 9, 9)).unwrap();
    let tracked = tracker.step(fixed(2, &[]), SIZE, 0);
    assert_eq!((tracked.events.len(), tracker.state.instances.tracks.len()), (3, 1));
    let mut full = Tracker::new(TrackerConfig { max_instances: 99, ..quick() }, PATCH);
    (0..16).for_each(|_| full.prompt(at(0, 0, 9, 9)).unwrap());
    assert!(matches!(full.prompt(at(0, 0, 9, 9)), Err(PromptError::QueueFull)));
}

#[test]
fn discovered_instances_make_room_for_prompts_and_stay_under_the_limit() {
    let config = TrackerConfig { max_instances: 1, ..quick() };
    let mut tracker = Tracker::new(config, PATCH);
    let things = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (6, 10), (4, 5))];
    let tracked = tracker.step(panned(0, &things), SIZE, 0);
    assert_eq!(tracked.instances.len(), 1);
    tracker.prompt(Prompt::Points { positive: vec![[10, 10]], negative: vec![] }).unwrap();
    let tracked = tracker.step(panned(1, &things), SIZE, 0);
    assert_eq!(tracker.state.instances.tracks.len(), 1);
    assert_eq!(tracked.events[0], TrackEvent::Ended { id: 1, cause: EndCause::Replaced });
    assert_eq!(tracked.events[1], TrackEvent::Appeared { id: 2, origin: Origin::Prompt });
}

#[test]
fn what_was_in_view_without_a_name_is_not_outvoted_by_the_past() {
    let things = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 10), (4, 4))];
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    tracker.first_mask(first(&things[..1]));
    (0..6).for_each(|t| drop(tracker.step(fixed(t, &things), SIZE, 0)));
    tracker.prompt(Prompt::Mask { mask: Rle::from_mask(SIZE, &pixels(&things[1].patches(GRID))) }).unwrap();
    for t in 6..12 {
        let tracked = tracker.step(fixed(t, &things), SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!(ids(&tracked), [1, 2], "frame {t}");
        assert!(iou(&tracked.labels, 1, things[0]) > 0.75 && iou(&tracked.labels, 2, things[1]) > 0.75);
        // The remembered frames say so too: all five of them agree.
        assert!(tracked.instances.iter().all(|i| i.score > 0.95), "frame {t}");
    }
}
