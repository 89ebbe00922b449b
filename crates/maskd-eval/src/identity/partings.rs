//! Whether things that were together have their names again once they are apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Label, Scene};

/// Pairs of true things that touch in a frame, the lesser label first.
pub(crate) type Contacts = BTreeSet<(Label, Label)>;

/// Names after partings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partings {
    /// Things that had a name before they met another, parted from it and were found again.
    pub(crate) judged: u64,
    /// Those of them that had another name then.
    pub(crate) wrong: u64,
}

/// Judges frames in order.
///
/// Two things have met when they touch, and parted in the first frame thereafter in which both are seen and do not touch:
/// one that is hidden by the other has not parted from it. A thing's name before is the last label that matched it while
/// they were apart, its name after the first one since they are. Who meets again before it is found is judged thereafter.
pub(crate) fn partings(scenes: &[Scene], contacts: &[Contacts]) -> Partings {
    let mut last = BTreeMap::new();
    let names: Vec<BTreeMap<Label, Label>> = (scenes.iter())
        .map(|scene| {
            let now = scene.matches(&last);
            last.extend(&now);
            now
        })
        .collect();
    let mut sum = Partings::default();
    for pair in contacts.iter().flatten().collect::<BTreeSet<_>>() {
        let things = [pair.0, pair.1];
        let (mut before, mut due) = ([None; 2], [None; 2]);
        let mut together = false;
        for ((scene, contacts), names) in scenes.iter().zip(contacts).zip(&names) {
            if contacts.contains(pair) {
                together = true;
                continue;
            }
            if together {
                if things.iter().any(|thing| !scene.truths.contains_key(thing)) {
                    continue;
                }
                (together, due) = (false, before);
            }
            for ((thing, before), due) in things.iter().zip(&mut before).zip(&mut due) {
                let Some(&name) = names.get(thing) else { continue };
                if let Some(expected) = due.take() {
                    sum.judged += 1;
                    sum.wrong += u64::from(name != expected);
                }
                *before = Some(name);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of one row; things touch where different ones are neighbours.
    fn judge(frames: &[([Label; 6], [Label; 6])]) -> (u64, u64) {
        let scenes: Vec<Scene> =
            frames.iter().map(|(t, f)| Scene::of(t.iter().copied().zip(f.iter().copied()))).collect();
        let touching = |row: &[Label; 6]| {
            let pairs = row.windows(2).filter(|pair| pair[0] != pair[1] && pair[0] * pair[1] > 0);
            pairs.map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).collect::<Contacts>()
        };
        let contacts: Vec<Contacts> = frames.iter().map(|(t, _)| touching(t)).collect();
        let Partings { judged, wrong } = partings(&scenes, &contacts);
        (judged, wrong)
    }

    const APART: [Label; 6] = [1, 1, 0, 0, 2, 2];
    const MET: [Label; 6] = [0, 1, 1, 2, 2, 0];
    const NONE: [Label; 6] = [0; 6];

    #[test]
    fn names_after_a_parting_are_held_against_those_before() {
        // As one while they are together.
        let one = [0, 7, 7, 7, 7, 0];
        let named = |a, b| [a, a, 0, 0, b, b];
        let start = (APART, named(7, 8));
        assert_eq!(judge(&[start, (MET, one), (APART, named(7, 8))]), (2, 0));
        assert_eq!(judge(&[start, (MET, one), (APART, named(7, 9))]), (2, 1));
        assert_eq!(judge(&[start, (MET, one), (APART, named(8, 7))]), (2, 2));
        // Found later: the first name counts, and only that.
        assert_eq!(judge(&[start, (MET, one), (APART, NONE), (APART, named(7, 9)), (APART, named(3, 4))]), (2, 1));
        // A second meeting is held against the names of the time between.
        let again = [start, (MET, one), (APART, named(7, 9)), (MET, one), (APART, named(7, 9))];
        assert_eq!(judge(&again), (4, 1));
    }

    #[test]
    fn who_had_no_name_hides_or_is_not_found_is_not_judged() {
        let start = (APART, APART);
        assert_eq!(judge(&[(MET, MET), (APART, APART)]), (0, 0), "together from the start");
        assert_eq!(judge(&[start, (MET, MET)]), (0, 0), "together to the end");
        let hidden = ([0, 1, 1, 0, 0, 0], [0, 3, 3, 0, 0, 0]);
        assert_eq!(judge(&[start, (MET, MET), hidden, (APART, APART)]), (2, 0), "hidden is not parted");
        assert_eq!(judge(&[start, (MET, MET), hidden]), (0, 0), "never seen again");
        assert_eq!(judge(&[start, (MET, MET), (APART, NONE), (MET, MET), (APART, [5, 5, 0, 0, 2, 2])]), (2, 1));
        assert_eq!(judge(&[start, (APART, [9; 6])]), (0, 0), "never met");
    }
}
