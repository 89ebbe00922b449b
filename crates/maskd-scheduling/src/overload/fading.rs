//! A mean over the last seconds: the ratio of two sums in which what is older counts less.

/// `amount / over`, each summed with weights that fall to 1/e in [`Fading::SPAN`] seconds. From the first value on it is
/// a true mean of what came: it does not start from zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fading {
    amount: f64,
    over: f64,
}

impl Fading {
    /// Seconds after which a value counts by 1/e.
    pub const SPAN: f64 = 4.0;

    /// A mean that starts from a guess, which weighs as much as `over`.
    pub fn guess(value: f64, over: f64) -> Self {
        Self { amount: value * over, over }
    }

    /// Adds `amount` in `over`, `elapsed` seconds after what was added before.
    pub fn add(&mut self, amount: f64, over: f64, elapsed: f64) {
        let keep = (-elapsed.max(0.0) / Self::SPAN).exp();
        self.amount = keep * self.amount + amount;
        self.over = keep * self.over + over;
    }

    /// The ratio; `None` before anything was added.
    pub fn value(&self) -> Option<f64> {
        (self.over > 0.0).then(|| self.amount / self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_right_from_the_first_value_and_forgets_the_old() {
        let mut rate = Fading::default();
        assert_eq!(rate.value(), None);
        rate.add(5.0, 0.5, 0.5);
        assert_eq!(rate.value(), Some(10.0));
        for _ in 0..40 {
            rate.add(1.0, 0.5, 0.5);
        }
        assert!((rate.value().unwrap() - 2.0).abs() < 0.1, "{rate:?}");
        // A silence of hours leaves nothing behind that could divide by zero.
        rate.add(3.0, 1.0, 1e9);
        assert_eq!(rate.value(), Some(3.0));
    }
}
