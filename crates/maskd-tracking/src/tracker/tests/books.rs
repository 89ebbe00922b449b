//! Whatever comes in whatever order: ids, channels and events add up.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Frames(u8, u8),
    Ask(Prompt),
    First(u8),
    Grid(bool),
    Network,
}

fn acts() -> impl Strategy<Value = Act> {
    let point = || (0u32..80, 0u32..60).prop_map(|(x, y)| [x, y]);
    prop_oneof![
        4 => (1u8..6, 0u8..8).prop_map(|(n, things)| Act::Frames(n, things)),
        1 => (0u32..80, 0u32..60, 0u32..90, any::<u32>())
            .prop_map(|(x, y, width, height)| Act::Ask(Prompt::Box { bbox: BBox { x, y, width, height } })),
        1 => (prop::collection::vec(point(), 0..3), prop::collection::vec(point(), 0..3))
            .prop_map(|(positive, negative)| Act::Ask(Prompt::Points { positive, negative })),
        1 => prop::collection::vec(any::<bool>(), SIZE.area())
            .prop_map(|mask| Act::Ask(Prompt::Mask { mask: Rle::from_mask(SIZE, &mask) })),
        1 => Just(Act::Ask(Prompt::Reset)),
        1 => any::<u8>().prop_map(Act::First),
        1 => any::<bool>().prop_map(Act::Grid),
        1 => Just(Act::Network),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_sequence_breaks_the_books(acts in prop::collection::vec(acts(), 1..14), max in 1usize..6, protocol: bool) {
        let base = if protocol { TrackerConfig::protocol() } else { quick() };
        let propagate = PropagateConfig { radius: 3, context: 2, ..PropagateConfig::default() };
        let config = TrackerConfig { max_instances: max, propagate, lost_after_frames: 2, ..base };
        let mut tracker = Tracker::new(config.clone(), PATCH);
        let (mut t, mut grid) = (0u64, GRID);
        let (mut appeared, mut live) = (Vec::new(), Vec::new());
        for act in acts {
            match act {
                Act::Ask(prompt) => drop(tracker.prompt(prompt)),
                Act::First(label) => tracker.first_mask(LabelMap {
                    size: SIZE,
                    labels: (0..SIZE.area()).map(|i| if i % 72 < 30 { label } else { 0 }).collect(),
                }),
                Act::Network => tracker.exchange_network(config.clone(), PATCH),
                Act::Grid(small) => grid = if small { Grid { rows: 6, cols: 9 } } else { GRID },
                Act::Frames(n, things) => for _ in 0..n {
                    t += 1;
                    let all = [Thing::new(1, (1, t as i32 % 12), (3, 4)), Thing::new(2, (7, 4), (3, 3)),
                        Thing::new(3, (4, 12 - t as i32 % 9), (3, 3))];
                    let shown: Vec<Thing> = (0..3).filter(|k| things >> k & 1 == 1).map(|k| all[k]).collect();
                    let tracked = tracker.step(Arc::new(field(grid, u64::from(things / 4), 0, &shown, t)), SIZE, 0);
                    check(&tracker, &tracked);
                    for event in &tracked.events {
                        match event {
                            TrackEvent::Appeared { id, .. } => {
                                prop_assert!(!appeared.contains(id), "id used again");
                                appeared.push(*id);
                                live.push(*id);
                            }
                            TrackEvent::Ended { id, .. } => {
                                prop_assert!(live.contains(id), "ended twice or never began");
                                live.retain(|l| l != id);
                            }
                        }
                    }
                    let mut now: Vec<_> = tracker.state.instances.tracks.iter().map(|t| t.id).collect();
                    now.sort_unstable();
                    live.sort_unstable();
                    prop_assert_eq!(&now, &live, "events do not add up");
                    prop_assert!(live.len() <= max.max(1));
                },
            }
        }
    }
}
