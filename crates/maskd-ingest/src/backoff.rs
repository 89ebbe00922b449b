//! How long to wait before a camera is tried again.

use std::time::Duration;

/// Exponential backoff with full jitter: the n-th wait is uniform between 0 and `first * 2^n`, at most `cap`.
/// Jitter keeps a rack of cameras from knocking all at once when their switch comes back.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempt: u32,
}

impl Default for Backoff {
    /// 0.25 s doubling to 5 s.
    fn default() -> Self {
        Self { first: Duration::from_millis(250), cap: Duration::from_secs(5), attempt: 0 }
    }
}

impl Backoff {
    /// 0.25 s doubling to `cap`, which may be less.
    pub fn up_to(cap: Duration) -> Self {
        Self { cap, ..Self::default() }
    }

    /// The longest the next wait can be.
    pub fn ceiling(&self) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(self.attempt)).min(self.cap)
    }

    /// The next wait; each call makes the following one longer.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.ceiling().mul_f64(rand::random_range(0.0..=1.0));
        self.attempt = self.attempt.saturating_add(1);
        wait
    }

    /// Failures since the last reset.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Starts over: the camera has been well for a while.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_start_over() {
        let mut backoff = Backoff::default();
        for ceiling in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            assert_eq!(backoff.ceiling(), Duration::from_millis(ceiling));
            assert!(backoff.next_wait() <= Duration::from_millis(ceiling));
        }
        for _ in 0..100 {
            assert!(backoff.next_wait() <= Duration::from_secs(5));
        }
        backoff.reset();
        assert_eq!((backoff.attempt(), backoff.ceiling()), (0, Duration::from_millis(250)));
    }

    #[test]
    fn no_wait_is_above_the_cap_that_was_asked_for() {
        let mut backoff = Backoff::up_to(Duration::from_millis(100));
        assert!((0..20).all(|_| backoff.next_wait() <= Duration::from_millis(100)));
        assert_eq!(Backoff::up_to(Duration::from_secs(60)).ceiling(), Duration::from_millis(250));
    }

    #[test]
    fn waits_are_jittered() {
        let waits: Vec<_> = (0..32).map(|_| Backoff { attempt: 9, ..Backoff::default() }.next_wait()).collect();
        let (low, high) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*high - *low > Duration::from_secs(1), "{waits:?}");
    }
}
