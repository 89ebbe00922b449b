//! What a patch costs at each level: measured at the level that is used, estimated for the others.

use super::fading::Fading;

/// A patch costs this much more at the next higher level, before anything is known: attention grows with the square.
const STEEPER: f64 = 1.2;
/// Bounds of what is believed of that.
const BELIEVED: (f64, f64) = (0.5, 2.0);

/// Seconds of the engine for each patch, by level.
#[derive(Clone, Debug)]
pub struct Costs {
    level: usize,
    here: Fading,
    /// When work was last measured.
    last: f64,
    /// For each level but the last, what a patch costs there over what it costs one level lower.
    steps: Vec<f64>,
    /// The level that was left, and what a patch cost there, until the step between them is learnt.
    left: Option<(usize, f64)>,
}

impl Costs {
    /// Nothing is known of any of so many levels.
    pub fn new(levels: usize) -> Self {
        let steps = vec![STEEPER; levels.saturating_sub(1)];
        Self { level: 0, here: Fading::default(), last: 0.0, steps, left: None }
    }

    /// The engine worked on `patches` for `seconds` until `now`.
    pub fn worked(&mut self, now: f64, patches: f64, seconds: f64) {
        if patches > 0.0 && seconds > 0.0 && seconds.is_finite() {
            self.here.add(seconds, patches, now - self.last);
            self.last = now;
        }
    }

    /// Seconds for a patch at `level`; `None` before any work.
    pub fn per_patch(&self, level: usize) -> Option<f64> {
        let here = self.here.value()?;
        let (low, high) = (level.min(self.level), level.max(self.level));
        let ratio: f64 = self.steps.get(low..high)?.iter().product();
        Some(if level < self.level { here * ratio } else { here / ratio })
    }

    /// The engine works at `level` from now on; `frame` is what one frame has there, in patches.
    pub fn switch(&mut self, level: usize, frame: f64) {
        let (before, guess) = (self.here.value(), self.per_patch(level));
        self.left = before.map(|cost| (self.level, cost));
        self.here = guess.map_or_else(Fading::default, |guess| Fading::guess(guess, frame));
        self.level = level;
    }

    /// The level has been kept for long enough to be known: compares it with the one that was left.
    pub fn settle(&mut self) {
        let Some(((left, before), here)) = self.left.take().zip(self.here.value()) else { return };
        let (low, ratio) = if left < self.level { (left, before / here) } else { (self.level, here / before) };
        // Steps are taken one at a time.
        if let Some(step) = self.steps.get_mut(low).filter(|_| left.abs_diff(self.level) == 1) {
            *step = ratio.clamp(BELIEVED.0, BELIEVED.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_between_two_levels_is_learnt_and_scales_with_the_machine() {
        let mut costs = Costs::new(3);
        assert_eq!(costs.per_patch(0), None);
        (1..50).for_each(|i| costs.worked(f64::from(i) * 0.1, 100.0, 0.15));
        assert!((costs.per_patch(0).unwrap() - 0.0015).abs() < 1e-9);
        assert!((costs.per_patch(2).unwrap() - 0.0015 / 1.44).abs() < 1e-9, "a guess");
        costs.switch(1, 50.0);
        (50..300).for_each(|i| costs.worked(f64::from(i) * 0.1, 50.0, 0.05));
        costs.settle();
        assert!((costs.per_patch(0).unwrap() - 0.0015).abs() < 1e-5, "{costs:?}");
        // Something else takes half of the machine: the level that was left would be slower, too.
        (300..900).for_each(|i| costs.worked(f64::from(i) * 0.1, 50.0, 0.1));
        assert!((costs.per_patch(0).unwrap() - 0.003).abs() < 1e-4, "{costs:?}");
    }

    #[test]
    fn nonsense_is_not_measured() {
        let mut costs = Costs::new(1);
        costs.worked(1.0, 0.0, 1.0);
        costs.worked(1.0, 5.0, f64::NAN);
        assert_eq!(costs.per_patch(0), None);
        costs.worked(1.0, 5.0, 1.0);
        assert_eq!((costs.per_patch(0), costs.per_patch(1)), (Some(0.2), None));
    }
}
