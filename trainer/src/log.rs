//! The log of a run for programs: one JSON object a line, every `run.log_steps` steps.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use maskd_types::files;

use crate::report::{Observer, Quality, StepReport};

/// More than the longest line that is written.
const LINE: u64 = 1 << 16;

/// The step that a line of the log is of.
fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64()
}

/// Whether `path` is a log of ours, as its first line shows. One that has no whole line yet may be.
fn is_log(path: &Path) -> io::Result<bool> {
    let mut first = String::new();
    let read = BufReader::new(files::open(path, u64::MAX)?.take(LINE)).read_line(&mut first);
    Ok(match read {
        Ok(0) => true,
        Ok(_) => step_of(&first).is_some() || (!first.ends_with('\n') && first.starts_with('{')),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => false,
        Err(e) => return Err(e),
    })
}

/// Appends to a file.
pub struct JsonLines {
    file: File,
}

impl JsonLines {
    /// Opens the log of a run that is at `step`. Lines of later steps, from a run that was cut off after its last
    /// checkpoint, go: those steps will be done again.
    ///
    /// # Errors
    /// It cannot be read or written, or something else bears its name.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let what = || path.display().to_string();
        if files::check_target(path, &is_log)? {
            let text = String::from_utf8_lossy(&fs::read(path).with_context(what)?).into_owned();
            let done = |line: &&str| step_of(line).is_some_and(|s| s <= step);
            let kept: String = text.lines().filter(done).flat_map(|line| [line, "\n"]).collect();
            if kept != text {
                files::write_durably(path, &is_log, |part| Ok(fs::write(part, kept)?))?;
            }
        }
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path).with_context(what)? })
    }
}

impl JsonLines {
    fn line(&mut self, step: u64, value: &impl serde::Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value).context("a line of the log")?;
        line.push(b'\n');
        // A full disk must not end a training whose state is in memory: the log has a gap then.
        if let Err(e) = self.file.write_all(&line) {
            tracing::warn!("log.jsonl: step {step} is not in it: {e}");
        }
        Ok(())
    }
}

impl Observer for JsonLines {
    fn observe(&mut self, report: &StepReport) -> Result<()> {
        if report.is_observed() {
            self.line(report.step, report)?;
        }
        Ok(())
    }

    fn on_quality(&mut self, step: u64, quality: &Quality) -> Result<()> {
        match quality.score() {
            Some(_) => self.line(step, &serde_json::json!({ "step": step, "quality": quality })),
            None => Ok(()),
        }
    }
}
