//! Errors of the configuration file: file, line, key, and the key that was probably meant.

use std::ops::Range;

use maskd_observability::redact::{Secrets, redact_value};

/// A configuration that cannot be used. Prints as one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file itself.
    #[error("configuration {file}: {source}")]
    Read {
        /// Its path.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line of it.
    #[error("{file}:{line}: {message}")]
    Line {
        /// Its path.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The key and what is wrong with it.
        message: String,
    },
    /// Something that no line of it says.
    #[error("{file}: {message}")]
    Whole {
        /// Its path.
        file: String,
        /// What is wrong.
        message: String,
    },
}

impl ConfigError {
    /// A value that was read but must not be: `key` is dotted, as in `runtime.max_batch`.
    pub fn invalid(text: &str, file: &str, key: &str, message: String) -> Self {
        let message = secrets_in(text).hide(&format!("{key}: {message}"));
        match line_of(text, key) {
            Some(line) => Self::Line { file: file.to_owned(), line, message },
            None => Self::Whole { file: file.to_owned(), message },
        }
    }

    /// What the TOML reader says, on one line.
    pub fn from_toml(error: &toml::de::Error, text: &str, file: &str) -> Self {
        // Before anything else: a secret is known as it is written, not as a line of text makes it.
        let secrets = secrets_in(text);
        let mut message = secrets.hide(error.message()).trim().replace('\n', ", ");
        let span = error.span();
        if let Some(suggestion) = suggestion(&message) {
            message = format!("{message}; did you mean `{suggestion}`?");
        }
        let Some(line) = span.map(|span| line_at(text, &span)).or_else(|| line_of(text, quoted(&message)?)) else {
            return Self::Whole { file: file.to_owned(), message };
        };
        let place = redact_value(&key_at(text, line)).into_owned();
        let message = if place.is_empty() { message } else { format!("{place}: {message}") };
        let message = secrets.hide(&message);
        Self::Line { file: file.to_owned(), line, message }
    }
}

/// Every secret that stands anywhere in `text`: parsers quote values that they cannot use.
fn secrets_in(text: &str) -> Secrets {
    let mut secrets = Secrets::default();
    // Where even TOML's own rules are broken, its reader quotes no values.
    if let Ok(table) = text.parse::<toml::Table>() {
        secrets.learn_from_toml("", &toml::Value::Table(table));
    }
    secrets
}

/// The line, from 1, in which `span` starts.
fn line_at(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|&b| b == b'\n').count() + 1
}

/// Section header and key of each line; the key is empty where the line assigns none.
fn lines(text: &str) -> impl Iterator<Item = (usize, String, String)> + '_ {
    let mut section = String::new();
    text.lines().enumerate().map(move |(i, line)| {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(|c| c == '[' || c == ']').trim().to_owned();
        }
        let key = match line.split_once('=') {
            Some((key, _)) if !line.starts_with(['#', '[']) => key.trim().trim_matches('"').to_owned(),
            _ => String::new(),
        };
        (i + 1, section.clone(), key)
    })
}

/// The dotted key assigned in line `number`, or its section.
fn key_at(text: &str, number: usize) -> String {
    lines(text).find(|(n, ..)| *n == number).map_or_else(String::new, |(_, section, key)| join(&section, &key))
}

/// The first line that assigns the dotted `key`, or its last part, or opens the table of that name.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let exact = lines(text).find(|(_, section, k)| join(section, k) == key).map(|(n, ..)| n);
    let last = key.rsplit('.').next()?;
    exact.or_else(|| lines(text).find(|(_, _, k)| k == last).map(|(n, ..)| n))
}

fn join(section: &str, key: &str) -> String {
    [section, key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// The first name that serde puts between backticks.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// The accepted name nearest to the unknown one, out of serde's "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
