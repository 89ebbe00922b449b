//! What an instance looks like is known after its label was lost.

use super::*;

/// Where the two halves of one thing are, of different looks; the second one, which is as unlike the first as the scene is, cannot
/// be seen for a while.
fn halves(t: u64) -> (Thing, Thing, bool) {
    let at = 1 + (t / 2) as i32;
    let hidden = (3..14).contains(&t);
    (Thing::new(1, (4, at), (4, 3)), Thing::new(3, (4, at + 3), (4, 2)), hidden)
}

/// How much of the second half is labelled after it came back.
fn found_again(target_model: bool, asked_for: Option<Prompt>) -> f32 {
    let base = quick();
    let propagate = PropagateConfig { target_model, ..base.propagate };
    let mut tracker = Tracker::new(TrackerConfig { propagate, discovery: false, ..base }, PATCH);
    let (left, right, _) = halves(0);
    let mut mask = first(&[left]);
    pixels(&right.patches(GRID)).iter().zip(&mut mask.labels).filter(|(held, _)| **held).for_each(|(_, l)| *l = 1);
    tracker.first_mask(mask);
    let mut share = 0.0;
    for t in 0..20 {
        let (left, right, hidden) = halves(t);
        let things = [left, right];
        let tracked = tracker.step(fixed(t, &things[..if hidden { 1 } else { 2 }]), SIZE, 0);
        check(&tracker, &tracked);
        if let (1, Some(prompt)) = (t, &asked_for) {
            tracker.prompt(prompt.clone()).unwrap();
        }
        let wanted = pixels(&right.patches(GRID));
        let held = tracked.labels.labels.iter().zip(&wanted).filter(|(l, wanted)| **wanted && **l == 1).count();
        share = held as f32 / wanted.iter().filter(|wanted| **wanted).count() as f32;
    }
    share
}

#[test]
fn a_part_that_was_hidden_for_longer_than_memory_is_found_again() {
    // It comes back farther from its first place than a patch looks.
    assert!(found_again(false, None) < 0.1, "propagation alone knows it: the scene is too easy");
    assert!(found_again(true, None) > 0.9);
}

#[test]
fn another_instance_in_between_takes_nothing_from_what_was_learnt() {
    let bbox = BBox { x: 60, y: 36, width: 8, height: 8 };
    assert!(found_again(true, Some(Prompt::Box { bbox })) > 0.9);
}
