//! A configuration before it is known to be good: read, given the command line's options, judged, and found ready.
//!
//! This is the one way from a file to a configuration that may run: `maskd check`, `maskd run` and a reload take it, so
//! that they refuse the same in the same words. No step ends at its first fault; a step leaves out what is wrong only
//! because of what an earlier one has found.

use std::path::Path;

use anyhow::anyhow;

use super::{Config, Ready, findings::Findings, preflight};
use maskd_cli::{ConfigError, ConfigFault, Document, Faults};
use maskd_types::files;

/// A configuration that was read but not judged.
pub struct Draft {
    /// What was read; keys that could not be are at their defaults.
    pub config: Config,
    name: Option<String>,
    text: String,
    faults: Vec<ConfigFault>,
    /// So much is wrong with the text that its values tell nothing.
    hopeless: bool,
    /// Keys whose values came from the command line, and the options that gave them.
    options: Vec<(String, &'static str)>,
}

impl Draft {
    /// Reads a file; what is wrong with it is told by [`Draft::ready`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = files::read_text(path).map_err(|source| ConfigError::Read { file: name.clone(), source })?;
        Ok(Self::parse(text, name))
    }

    /// Reads `text`, which faults call `name`.
    pub(super) fn parse(text: String, name: String) -> Self {
        let (config, faults) = maskd_cli::read(&text);
        let hopeless = config.is_none();
        Self { config: config.unwrap_or_default(), name: Some(name), text, faults, hopeless, options: Vec::new() }
    }

    /// A configuration that stands in no file.
    pub fn of(config: Config) -> Self {
        Self { config, name: None, text: String::new(), faults: Vec::new(), hopeless: false, options: Vec::new() }
    }

    /// Notes that the value of `key`, dotted, was given by `option`, as in `--weights`: a fault of it is the option's.
    pub fn given(&mut self, key: impl Into<String>, option: &'static str) {
        self.options.push((key.into(), option));
    }

    /// The configuration as far as it was read, where all of it was.
    ///
    /// # Errors
    /// Each key that could not be.
    pub(super) fn unjudged(self) -> Result<Config, ConfigError> {
        match Faults::of(self.name, self.faults) {
            Some(faults) => Err(faults.into()),
            None => Ok(self.config),
        }
    }

    /// The configuration, where its values are good. No file is looked at.
    ///
    /// # Errors
    /// Each key that could not be read, and each value that cannot be.
    pub(super) fn judged(mut self) -> Result<Config, ConfigError> {
        let text = std::mem::take(&mut self.text);
        let findings = self.judge(&text);
        self.faults = findings.into_faults();
        self.unjudged()
    }

    /// The configuration and what it names, all of it looked at: files, pipelines, what this machine computes in. Cameras
    /// and the network are not.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the lines.
    pub fn ready(mut self) -> Result<Ready, ConfigError> {
        let text = std::mem::take(&mut self.text);
        let mut findings = self.judge(&text);
        let parts = (!self.hopeless).then(|| preflight::look(&self.config, &mut findings));
        let (name, faults) = (self.name, findings.into_faults());
        match (Faults::of(name, faults), parts.flatten()) {
            (Some(faults), _) => Err(faults.into()),
            (None, Some(((weights, stamp), streams))) => Ok(Ready { config: self.config, weights, stamp, streams }),
            (None, None) => {
                let cause = anyhow!("This is a bug: not ready, though nothing is wrong");
                let fault = ConfigFault { line: None, key: String::new(), cause, data: false };
                Err(Faults::of(None, vec![fault]).unwrap_or_default().into())
            }
        }
    }

    /// Judges the values against their ranges and each other.
    fn judge<'t>(&mut self, text: &'t str) -> Findings<'t> {
        let document = self.name.is_some().then(|| Document::parse(text).0);
        let faults = std::mem::take(&mut self.faults);
        let options = std::mem::take(&mut self.options);
        let mut findings = Findings::new(document, options, faults);
        if !self.hopeless {
            for (key, message) in self.config.faults() {
                findings.add(&key, anyhow!(message), false);
            }
        }
        findings.settle();
        findings
    }
}
