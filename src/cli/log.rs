//! Structured logs to standard error: text for a terminal, JSON lines for a collector.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::{Exit, Failure, OrExit as _};
use crate::config::{LogConfig, LogFormat};

/// The variable that overrides `[log] level`.
const VARIABLE: &str = "MASKD_LOG";

const KEY: &str = "log.level";

/// Whether the configured level or filter can be read.
pub(super) fn check(config: &LogConfig) -> Result<(), Failure> {
    filter(KEY, &config.level).map(drop)
}

fn filter(from: &str, directives: &str) -> Result<EnvFilter, Failure> {
    let wrong =
        |e| anyhow::anyhow!("{from} = {directives:?}: {e}; use a level such as info, or info,maskd::ingest=debug");
    EnvFilter::builder().parse(directives).map_err(wrong).or_exit(Exit::Config)
}

/// Starts logging for the life of the process.
///
/// # Errors
/// A level or filter that cannot be read, by name.
pub(super) fn init(config: &LogConfig) -> Result<(), Failure> {
    let (from, directives) = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => (VARIABLE, text),
        _ => (KEY, config.level.clone()),
    };
    let filter = filter(from, &directives)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("logging could not start: {e}")).or_exit(Exit::Internal)
}

/// Warnings only, as text: what the offline commands want beside their own output.
pub(super) fn init_quiet() -> Result<(), Failure> {
    init(&LogConfig { level: "warn".to_owned(), ..LogConfig::default() })
}
