//! Drawn plays with exact truth: three actors of different looks before a textured set, who cross, hide and leave.

use maskd::{frame::Size, mask::LabelMap};

/// Size of every picture.
pub const SIZE: Size = Size::new(320, 240);
/// Actors of a play; labels 1 to this.
pub const ACTORS: u8 = 3;

/// What an actor looks like.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// A disc of red and white bands.
    Ball,
    /// An upright box of brown planks.
    Crate,
    /// A lying ellipse, blue with yellow dots.
    Fish,
}

/// One actor; the later in the list, the closer to the camera.
#[derive(Clone, Copy, Debug)]
struct Actor {
    label: u8,
    look: Look,
    /// Half width and half height, in pixels.
    half: (f64, f64),
    /// `(frame, x, y)` of its centre; it moves evenly from one to the next.
    path: &'static [(u64, f64, f64)],
}

/// A script.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// For people.
    pub name: &'static str,
    /// Length.
    pub frames: u64,
    /// Pixels that the camera turns to the right in each frame.
    pan: f64,
    /// The first is the farthest.
    actors: [Actor; ACTORS as usize],
}

const fn actor(label: u8, look: Look, half: (f64, f64), path: &'static [(u64, f64, f64)]) -> Actor {
    Actor { label, look, half, path }
}

/// All three pass the middle at once, each at its own depth.
pub const CROSSING: Play = Play {
    name: "crossing",
    frames: 60,
    pan: 0.0,
    actors: [
        actor(3, Look::Fish, (46.0, 32.0), &[(0, 165.0, 40.0), (60, 150.0, 204.0)]),
        actor(2, Look::Crate, (34.0, 44.0), &[(0, 272.0, 150.0), (60, 40.0, 124.0)]),
        actor(1, Look::Ball, (38.0, 38.0), &[(0, 46.0, 104.0), (60, 276.0, 128.0)]),
    ],
};

/// The ball goes behind the crate, is out of sight for more than ten frames, and comes out on the other side.
pub const HIDING: Play = Play {
    name: "hiding",
    frames: 60,
    pan: 0.0,
    actors: [
        actor(
            1,
            Look::Ball,
            (32.0, 32.0),
            &[(0, 40.0, 120.0), (24, 158.0, 124.0), (36, 162.0, 124.0), (60, 280.0, 116.0)],
        ),
        actor(3, Look::Fish, (44.0, 28.0), &[(0, 60.0, 206.0), (60, 250.0, 208.0)]),
        actor(2, Look::Crate, (46.0, 54.0), &[(0, 166.0, 116.0), (60, 154.0, 118.0)]),
    ],
};

/// The ball leaves through the left edge and comes back lower on the same edge, more than fifteen frames later.
pub const LEAVING: Play = Play {
    name: "leaving",
    frames: 60,
    pan: 0.0,
    actors: [
        actor(3, Look::Fish, (46.0, 30.0), &[(0, 190.0, 60.0), (60, 250.0, 50.0)]),
        actor(2, Look::Crate, (34.0, 44.0), &[(0, 250.0, 168.0), (60, 176.0, 176.0)]),
        actor(
            1,
            Look::Ball,
            (38.0, 38.0),
            &[(0, 66.0, 56.0), (14, -40.0, 62.0), (32, -40.0, 182.0), (48, 60.0, 180.0), (60, 84.0, 178.0)],
        ),
    ],
};

/// The camera turns after the ball, which passes before the crate.
pub const TURNING: Play = Play {
    name: "turning",
    frames: 60,
    pan: 2.0,
    actors: [
        actor(3, Look::Fish, (46.0, 32.0), &[(0, 190.0, 52.0), (60, 300.0, 60.0)]),
        actor(2, Look::Crate, (34.0, 44.0), &[(0, 260.0, 160.0), (60, 190.0, 166.0)]),
        actor(1, Look::Ball, (38.0, 38.0), &[(0, 60.0, 150.0), (60, 380.0, 150.0)]),
    ],
};

impl Actor {
    fn centre(&self, i: u64) -> (f64, f64) {
        let after = self.path.iter().position(|p| p.0 >= i).unwrap_or(self.path.len() - 1);
        let (to, from) = (self.path[after], self.path[after.saturating_sub(1)]);
        let share = if to.0 > from.0 { (i - from.0) as f64 / (to.0 - from.0) as f64 } else { 0.0 };
        (from.1 + share * (to.1 - from.1), from.2 + share * (to.2 - from.2))
    }

    /// Whether it covers the point `(u, v)` from its centre.
    fn covers(&self, u: f64, v: f64) -> bool {
        let (a, b) = (u / self.half.0, v / self.half.1);
        match self.look {
            Look::Crate => a.abs() <= 1.0 && b.abs() <= 1.0,
            Look::Ball | Look::Fish => a * a + b * b <= 1.0,
        }
    }

    fn colour(&self, u: f64, v: f64) -> [f64; 3] {
        let (a, b) = (u / self.half.0, v / self.half.1);
        let grain = 14.0 * (smooth(u / 5.0, v / 5.0, u64::from(self.label)) - 0.5);
        let (base, light) = match self.look {
            Look::Ball => {
                let band = ((a + 0.3 * b) * 3.0).floor() as i64 % 2 == 0;
                (if band { [206.0, 44.0, 40.0] } else { [236.0, 230.0, 222.0] }, 1.05 - 0.45 * (a * a + b * b))
            }
            Look::Crate => {
                let frame = a.abs() > 0.8 || b.abs() > 0.84 || (a - b).abs() < 0.14;
                let gap = (b * 5.0).rem_euclid(1.0) < 0.12;
                (
                    if gap && !frame {
                        [70.0, 44.0, 22.0]
                    } else if frame {
                        [126.0, 84.0, 44.0]
                    } else {
                        [178.0, 126.0, 70.0]
                    },
                    1.0,
                )
            }
            Look::Fish => {
                let (x, y) = ((u / 14.0).rem_euclid(1.0) - 0.5, (v / 14.0).rem_euclid(1.0) - 0.5);
                (if x.hypot(y) < 0.28 { [236.0, 206.0, 60.0] } else { [40.0, 80.0, 190.0] }, 1.1 - 0.4 * b.max(0.0))
            }
        };
        base.map(|c| c * light + grain)
    }
}

impl Play {
    /// Which actor each pixel shows, and where from its centre.
    fn stage(&self, i: u64, mut paint: impl FnMut(Option<(&Actor, f64, f64)>, f64, f64)) {
        let pan = self.pan * i as f64;
        let centres = self.actors.map(|actor| actor.centre(i));
        for y in 0..SIZE.height {
            for x in 0..SIZE.width {
                let (x, y) = (f64::from(x) + 0.5 + pan, f64::from(y) + 0.5);
                let seen = self
                    .actors
                    .iter()
                    .zip(&centres)
                    .rev()
                    .find_map(|(actor, &(cx, cy))| actor.covers(x - cx, y - cy).then_some((actor, x - cx, y - cy)));
                paint(seen, x, y);
            }
        }
    }

    /// The truth: 0 is the set, others are actors.
    pub fn truth(&self, i: u64) -> LabelMap {
        let mut labels = Vec::with_capacity(SIZE.area());
        self.stage(i, |seen, _, _| labels.push(seen.map_or(0, |(actor, ..)| actor.label)));
        LabelMap { size: SIZE, labels }
    }

    /// The picture: `(height, width, 3)` RGB. Textures move with their actor, the set's with the camera.
    pub fn rgb(&self, i: u64) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(SIZE.area() * 3);
        self.stage(i, |seen, x, y| {
            let colour = seen.map_or_else(|| ground(x, y), |(actor, u, v)| actor.colour(u, v));
            rgb.extend(colour.map(|c| c.round().clamp(0.0, 255.0) as u8));
        });
        rgb
    }
}

/// A meadow below a wall of rough stones.
fn ground(x: f64, y: f64) -> [f64; 3] {
    let rough = |scale: f64, seed| smooth(x / scale, y / scale, seed) - 0.5;
    let texture = 50.0 * rough(36.0, 11) + 34.0 * rough(11.0, 12) + 26.0 * rough(4.0, 13);
    let horizon = 92.0 + 10.0 * (smooth(x / 50.0, 0.0, 14) - 0.5);
    let base = if y < horizon { [128.0, 124.0, 118.0] } else { [86.0, 116.0, 62.0] };
    base.map(|c| c + texture)
}

/// Noise in 0..1 that is smooth over a unit and follows from its arguments.
fn smooth(x: f64, y: f64, seed: u64) -> f64 {
    let at = |x: f64, y: f64| {
        let mut h = (x as i64 as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (y as i64 as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
            ^ seed.wrapping_mul(0x1656_67B1_9E37_79F9);
        h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((h >> 40) & 0xFFFF) as f64 / 65535.0
    };
    let (left, top) = (x.floor(), y.floor());
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - left), ease(y - top));
    let row = |y: f64| at(left, y) * (1.0 - u) + at(left + 1.0, y) * u;
    row(top) * (1.0 - v) + row(top + 1.0) * v
}

/// Frames in which an actor cannot be seen.
fn unseen(play: &Play, label: u8) -> Vec<u64> {
    (0..play.frames).filter(|&i| !play.truth(i).labels.contains(&label)).collect()
}

#[test]
fn the_plays_do_what_they_say() {
    let hidden = unseen(&HIDING, 1);
    assert!(hidden.len() >= 10 && hidden[0] > 10 && hidden.last() < Some(&50), "{hidden:?}");
    let gone = unseen(&LEAVING, 1);
    assert!(gone.len() >= 15 && gone[0] > 10 && gone.last() < Some(&50), "{gone:?}");
    for play in [CROSSING, HIDING, LEAVING, TURNING] {
        for label in 1..=ACTORS {
            let area = |i| play.truth(i).labels.iter().filter(|l| **l == label).count();
            assert!(area(0) > 1500 && area(play.frames - 1) > 1500, "{} {label}", play.name);
        }
    }
    // In the crossing each is partly hidden by, or hides, each other one.
    let whole = |label: u8| CROSSING.truth(0).labels.iter().filter(|l| **l == label).count();
    let least = |label: u8| (0..60).map(|i| CROSSING.truth(i).labels.iter().filter(|l| **l == label).count()).min();
    assert!(least(3) < Some(whole(3) / 4) && least(2) < Some(whole(2) * 3 / 4) && least(1) > Some(whole(1) * 9 / 10));
    assert_ne!(TURNING.rgb(0)[..960], TURNING.rgb(1)[..960], "the camera turns");
}
