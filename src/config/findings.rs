//! What is wrong with a configuration, as the steps that judge it find it: each fault once, and none that follows from
//! another.

use maskd_cli::{ConfigFault, DUPLICATE, Document};

/// Keys of a stream that are judged by its `kind` or `pipeline`.
const BY_KIND: [&str; 8] = ["kind", "pipeline", "location", "device", "user", "password_file", "pace", "loop"];

/// What is found, and where it stands.
pub(super) struct Findings<'t> {
    document: Option<Document<'t>>,
    options: Vec<(String, &'static str)>,
    faults: Vec<ConfigFault>,
    /// So many were found by earlier steps.
    settled: usize,
}

impl<'t> Findings<'t> {
    /// Those of earlier steps, in the text `document` if there is one; `options` of the command line gave the values of keys.
    pub(super) fn new(
        document: Option<Document<'t>>,
        options: Vec<(String, &'static str)>,
        faults: Vec<ConfigFault>,
    ) -> Self {
        Self { document, options, settled: faults.len(), faults }
    }

    /// All that was found.
    pub(super) fn into_faults(self) -> Vec<ConfigFault> {
        self.faults
    }

    /// A fault of `key`, dotted, unless it follows from what an earlier step has found.
    pub(super) fn add(&mut self, key: &str, cause: anyhow::Error, data: bool) {
        if self.follows(key) {
            return;
        }
        let option = self.options.iter().find(|(given, _)| given == key);
        self.faults.push(match (option, &self.document) {
            (Some((_, option)), _) => ConfigFault { line: None, key: (*option).to_owned(), cause, data },
            (None, Some(document)) => document.told(key, cause, data),
            (None, None) => ConfigFault { line: None, key: key.to_owned(), cause, data },
        });
    }

    /// What comes from now on is another step's.
    pub(super) fn settle(&mut self) {
        self.settled = self.faults.len();
    }

    /// Whether an earlier step has found fault with `key` or something in it.
    pub(super) fn known(&self, key: &str) -> bool {
        let option = self.options.iter().find(|(given, _)| given == key).map_or(key, |(_, option)| option);
        let inside = |fault: &ConfigFault| {
            fault.key.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.faults[..self.settled].iter().any(inside)
    }

    /// Whether a fault of `key` is known, or nothing but the consequence of one that is.
    fn follows(&self, key: &str) -> bool {
        if key == "streams" {
            // What could not be read may have held them.
            let lost = |fault: &ConfigFault| {
                let table = fault.key.split('.').next().unwrap_or_default();
                strsim::jaro_winkler(table, key) > 0.8 || fault.cause.to_string().contains(DUPLICATE)
            };
            return self.faults[..self.settled].iter().any(lost);
        }
        let of_stream = key.strip_prefix("streams.").and_then(|rest| rest.split_once('.'));
        let by_kind = of_stream.is_some_and(|(stream, last)| {
            let unsure = |deciding| self.known(&format!("streams.{stream}.{deciding}"));
            BY_KIND.contains(&last) && (unsure("kind") || unsure("pipeline"))
        });
        by_kind || self.known(key)
    }
}
