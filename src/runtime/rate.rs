//! Rates over the last seconds, and logs that come at most once a second.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long a published frame counts for `fps`.
const WINDOW: Duration = Duration::from_secs(5);

/// Events a second over a sliding window.
#[derive(Debug, Default)]
pub(super) struct Rate {
    times: VecDeque<Instant>,
}

impl Rate {
    /// An event happened `now`.
    pub(super) fn tick(&mut self, now: Instant) {
        self.times.push_back(now);
        self.trim(now);
    }

    /// Events a second as of `now`: 0 when the window holds fewer than two. A stream that went silent falls to 0
    /// within the window.
    pub(super) fn per_second(&mut self, now: Instant) -> f64 {
        self.trim(now);
        match self.times.front() {
            Some(&first) if self.times.len() > 1 => {
                let span = now.duration_since(first).max(Duration::from_millis(1));
                (self.times.len() - 1) as f64 / span.as_secs_f64()
            }
            _ => 0.0,
        }
    }

    fn trim(&mut self, now: Instant) {
        while self.times.front().is_some_and(|&t| now.duration_since(t) > WINDOW) {
            self.times.pop_front();
        }
    }
}

/// Lets something through at most once a second and counts what it held back.
#[derive(Debug, Default)]
pub(super) struct OncePerSecond {
    last: Option<Instant>,
    held: u64,
}

impl OncePerSecond {
    /// `Some(n)` when it is time to speak, where n events (this one too) happened since the last time.
    pub(super) fn pass(&mut self, now: Instant) -> Option<u64> {
        self.held += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_frames_a_second_are_ten_and_silence_becomes_zero() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for i in 0..100 {
            rate.tick(start + Duration::from_millis(100 * i));
        }
        let end = start + Duration::from_millis(9900);
        assert!((rate.per_second(end) - 10.0).abs() < 0.2, "{}", rate.per_second(end));
        assert_eq!(rate.per_second(end + Duration::from_secs(6)), 0.0);
    }

    #[test]
    fn a_thousand_errors_are_one_line_that_counts_them() {
        let (mut once, start) = (OncePerSecond::default(), Instant::now());
        let spoken: Vec<_> = (0..1000).filter_map(|i| once.pass(start + Duration::from_millis(i))).collect();
        assert_eq!(spoken, [1]);
        assert_eq!(once.pass(start + Duration::from_secs(1)), Some(1000));
    }
}
