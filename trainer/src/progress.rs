//! What a person sees: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::report::{Observer, StepReport};

/// Seconds between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// The bar, or the lines.
pub struct ProgressView {
    bar: Option<ProgressBar>,
    last: Option<Instant>,
}

impl ProgressView {
    /// For a run of `total` steps.
    pub fn new(total: u64, step: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}");
            let bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(step);
            bar
        });
        Self { bar, last: None }
    }
}

impl Observer for ProgressView {
    fn observe(&mut self, r: &StepReport) -> Result<()> {
        let left = HumanDuration(Duration::try_from_secs_f64(r.seconds_left).unwrap_or_default());
        let line = format!(
            "epoch {}  loss {:.4}  {:.2} img/s  {:.0} % waiting  {left:#} left",
            r.epoch,
            r.mean_loss,
            r.images_per_second,
            100.0 * r.waiting
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(r.step);
                bar.set_message(line);
            }
            None if r.step == r.total || self.last.is_none_or(|last| last.elapsed() >= PAUSE) => {
                self.last = Some(Instant::now());
                eprintln!("step {}/{}  {line}", r.step, r.total);
            }
            None => {}
        }
        if let Some(warning) = &r.warning {
            let say = || eprintln!("maskd-train: warning: step {}: {warning}", r.step);
            match &self.bar {
                Some(bar) => bar.suspend(say),
                None => say(),
            }
        }
        Ok(())
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
