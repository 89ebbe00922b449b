//! Structured logs to standard error: text for a terminal, JSON lines for a collector.

use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;

use super::{Exit, Failure, OrExit as _};
use crate::{
    config::{LogConfig, LogFormat},
    runtime::LogWriter,
};
use maskd_observability::redact::redact;

/// The variable that overrides `[log] level`.
const VARIABLE: &str = "MASKD_LOG";

const KEY: &str = "log.level";

/// What filters of earlier versions call the modules that are crates, or parts of crates, or have other names, now.
const MOVED: [(&str, &str); 23] = [
    ("maskd::attention", "maskd_model::attention"),
    ("maskd::backbone", "maskd_model::backbone"),
    ("maskd::davis", "maskd_eval"),
    ("maskd::discover", "maskd_tracking::discover"),
    ("maskd::engine", "maskd_tracking::engine"),
    ("maskd::frame", "maskd_types::frame"),
    ("maskd::ingest", "maskd_ingest"),
    ("maskd::kernels", "maskd_kernels"),
    ("maskd::mask", "maskd_types::mask"),
    ("maskd::metrics", "maskd_observability::metrics"),
    ("maskd::model", "maskd_model"),
    ("maskd::overload", "maskd_scheduling"),
    ("maskd::preprocess", "maskd_model::preprocess"),
    ("maskd::propagate", "maskd_tracking::propagate"),
    ("maskd::publish", "maskd_transport"),
    ("maskd::pulse", "maskd_observability::heartbeat"),
    ("maskd::refine", "maskd_tracking::refine"),
    ("maskd::runtime::exchange", "maskd::runtime::model_swap"),
    ("maskd::runtime::ledger", "maskd::runtime::accounting"),
    ("maskd::tracker", "maskd_tracking::tracker"),
    ("maskd_observability::pulse", "maskd_observability::heartbeat"),
    ("maskd_scheduling::pace", "maskd_scheduling::rate_controller"),
    ("maskd_scheduling::turns", "maskd_scheduling::round_robin"),
];

/// `directives` with today's targets in place of those of earlier versions.
fn renamed(directives: &str) -> String {
    let rename = |directive: &str| {
        let moved = MOVED.iter().find_map(|(old, new)| directive.trim().strip_prefix(old).map(|rest| (new, rest)));
        match moved {
            Some((new, rest)) if rest.is_empty() || rest.starts_with(['=', ':', '[']) => format!("{new}{rest}"),
            _ => directive.to_owned(),
        }
    };
    directives.split(',').map(rename).collect::<Vec<_>>().join(",")
}

fn filter(from: &str, directives: &str) -> Result<EnvFilter, Failure> {
    let wrong =
        |e| anyhow::anyhow!("{from} = {directives:?}: {e}; use a level such as info, or info,maskd_ingest=debug");
    EnvFilter::builder().parse(renamed(directives)).map_err(wrong).or_exit(Exit::Config)
}

/// The log of the daemon. When it is dropped, the last lines are written, unless nobody reads standard error.
pub(super) struct Log(LogWriter);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Starts logging for the life of the process.
///
/// # Errors
/// A level or filter that cannot be read, by name.
pub(super) fn init(config: &LogConfig) -> Result<Log, Failure> {
    let (from, directives) = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => (VARIABLE, text),
        _ => (KEY, config.level.clone()),
    };
    let filter = filter(from, &directives)?;
    let told = |lines| tracing::warn!(lines, "log lines were lost: standard error could not be written to for a while");
    let writer = LogWriter::start(io::stderr(), told).or_exit(Exit::Internal)?;
    let out = writer.clone();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || Discreet(out.clone()));
    let started = match config.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("logging could not start: {e}")).or_exit(Exit::Internal)?;
    Ok(Log(writer))
}

/// Writes lines without what looks like a secret. Libraries log too, and do not know which of our settings are secret.
struct Discreet<W>(W);

impl<W: Write> Write for Discreet<W> {
    /// Takes an event's whole line, as `tracing_subscriber` hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(redact(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Warnings only, as text: what the offline commands want beside their own output.
pub(super) fn init_quiet() -> Result<Log, Failure> {
    init(&LogConfig { level: "warn".to_owned(), ..LogConfig::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_earlier_versions_mean_what_they_meant() {
        for (given, meant) in [
            ("info", "info"),
            ("info,maskd::ingest=debug", "info,maskd_ingest=debug"),
            ("maskd::publish", "maskd_transport"),
            ("maskd::mask=debug", "maskd_types::mask=debug"),
            ("maskd::ingest::camera=trace,zenoh=warn", "maskd_ingest::camera=trace,zenoh=warn"),
            ("maskd::ingested=debug", "maskd::ingested=debug"),
            ("maskd::runtime=debug", "maskd::runtime=debug"),
            ("maskd::runtime::exchange=debug,warn", "maskd::runtime::model_swap=debug,warn"),
            ("maskd_scheduling::pace", "maskd_scheduling::rate_controller"),
            ("maskd_scheduling=info", "maskd_scheduling=info"),
        ] {
            assert_eq!(renamed(given), meant);
        }
    }

    #[test]
    fn a_librarys_line_goes_out_without_its_secrets() {
        let mut out = Vec::new();
        let line = "{\"message\":\"GET http://u:hunter2@cam/?token=hunter2\",\"stream\":\"a\"}\n";
        Discreet(&mut out).write_all(line.as_bytes()).unwrap();
        let expected = "{\"message\":\"GET http://***@cam/?token=***\",\"stream\":\"a\"}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
