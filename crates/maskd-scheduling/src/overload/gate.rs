//! Drops a stream's frames in excess of its rate, so that those that pass are evenly spaced.

use std::time::{Duration, Instant};

/// A frame may come this share of the interval before its time: cameras jitter, and the even course matters more.
const EARLY: f64 = 0.1;

/// Lets at most a set rate of frames through. Open, as it starts, it lets all of them through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// Between two frames; `None` is open.
    interval: Option<Duration>,
    /// When the next frame may pass.
    due: Option<Instant>,
}

impl Gate {
    /// Lets `rate` frames a second through from now on, or all of them. A rate below one frame in a thousand seconds
    /// is that.
    pub fn set(&mut self, rate: Option<f64>) {
        let interval = rate.map(|rate| Duration::from_secs_f64(1.0 / rate.clamp(1e-3, 1e6)));
        // What was owed by a slower course is not waited for.
        if let (Some(due), Some(before)) = (self.due, self.interval) {
            self.due = interval.and_then(|now| (due + now).checked_sub(before));
        }
        self.interval = interval;
    }

    /// Whether a frame that came at `at` may pass.
    pub fn admits(&mut self, at: Instant) -> bool {
        let Some(interval) = self.interval else { return true };
        let early = interval.mul_f64(EARLY);
        let due = self.due.unwrap_or(at);
        if at + early < due {
            return false;
        }
        // The course is kept through jitter; a silence longer than an interval earns nothing.
        let next = due + interval;
        self.due = Some(if next > at { next } else { at + interval });
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Which of `frames` regular frames at `fps` pass, by their numbers; each is late by some of `jitter` seconds.
    fn passing(gate: &mut Gate, fps: f64, frames: u32, jitter: impl Fn(u32) -> f64) -> Vec<u32> {
        let start = Instant::now();
        let at = |i: u32| start + Duration::from_secs_f64(f64::from(i) / fps + jitter(i));
        (0..frames).filter(|&i| gate.admits(at(i))).collect()
    }

    proptest! {
        #[test]
        fn the_rate_is_met_and_the_gaps_are_even(fps in 1.0f64..60.0, share in 0.02f64..1.0) {
            let mut gate = Gate::default();
            gate.set(Some(share * fps));
            let frames = 600;
            let passed = passing(&mut gate, fps, frames, |_| 0.0);
            let expected = share * f64::from(frames);
            prop_assert!((passed.len() as f64 - expected).abs() <= 2.0 + 0.01 * expected, "{} of {expected}", passed.len());
            // The first gap alone may be shorter: the course begins with the first frame.
            let gaps: Vec<u32> = passed.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
            if let (Some(least), Some(most)) = (gaps.iter().min(), gaps.iter().max()) {
                prop_assert!(most - least <= 1, "{gaps:?}");
            }
        }

        #[test]
        fn a_camera_that_jitters_or_bursts_is_held_to_its_rate(
            fps in 5.0f64..60.0, share in 0.1f64..0.9, late in prop::collection::vec(0.0f64..0.9, 600),
        ) {
            let mut gate = Gate::default();
            gate.set(Some(share * fps));
            let passed = passing(&mut gate, fps, 600, |i| late[i as usize] / fps);
            prop_assert!(passed.len() as f64 <= share * 600.0 + 3.0);
            prop_assert!(passed.len() as f64 >= 0.85 * share * 600.0, "{} of {}", passed.len(), share * 600.0);
        }
    }

    #[test]
    fn it_starts_open_opens_again_and_a_long_silence_earns_one_frame() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(gate.admits(at(0)) && gate.admits(at(0)));
        gate.set(Some(1.0));
        assert!(gate.admits(at(10)) && !gate.admits(at(20)));
        assert!(gate.admits(at(60_000)) && !gate.admits(at(60_500)));
        assert!(gate.admits(at(61_000)) && !gate.admits(at(61_100)));
        gate.set(None);
        assert!(gate.admits(at(61_001)) && gate.admits(at(61_002)));
    }

    #[test]
    fn a_faster_course_begins_at_once() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        gate.set(Some(0.01));
        assert!(gate.admits(start));
        gate.set(Some(10.0));
        assert!(gate.admits(start + Duration::from_millis(100)));
    }
}
