//! The one place that turns an error into an exit code and a line on standard error: one for each fault.
//!
//! The codes are those of `sysexits.h`, so that a service manager can tell "fix the file" from "try again".

use std::{fmt, io, process::ExitCode};

use crate::ConfigError;
use maskd_model::{NotFetched, fetch::FetchError, weights::WeightsFault};
use maskd_observability::redact::redact;
use maskd_protocol::PublishError;
use maskd_types::files::OutputError;

/// Why a command ended; the number is the process's exit code. Usage errors (2) are clap's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The configuration, or a value given in its place, is wrong.
    Config = 64,
    /// Input from outside is wrong: weights, a mask, a video, a message.
    Data = 65,
    /// Something needed is not there now: a port is taken, nobody answers, no network.
    Unavailable = 69,
    /// A fault of ours, or the engine failed.
    Internal = 70,
    /// A file could not be read or written.
    Io = 74,
}

/// What a command failed of, with its exit code. Prints as one line for each fault.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with: the lowest code of all faults.
    pub exit: Exit,
    errors: Vec<anyhow::Error>,
}

impl Failure {
    /// `error`, which ends the command with `exit`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, errors: vec![error.into()] }
    }

    /// Several faults that end the command with `exit`.
    pub fn all(exit: Exit, errors: impl IntoIterator<Item = anyhow::Error>) -> Self {
        Self { exit, errors: errors.into_iter().collect() }
    }

    /// `error` with the code that it is known by, else `exit`; a configuration's faults each with its own.
    fn of(error: anyhow::Error, exit: Exit) -> Self {
        let one = |error: anyhow::Error, exit| Self { exit: known(&error).unwrap_or(exit), errors: vec![error] };
        match error.downcast::<ConfigError>() {
            Ok(ConfigError::Faults(faults)) => faults
                .into_errors()
                .map(|(error, data)| one(error, if data { Exit::Data } else { exit }))
                .reduce(Self::and)
                .unwrap_or_else(|| Self { exit, errors: Vec::new() }),
            Ok(other) => one(other.into(), exit),
            Err(error) => one(error, exit),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.errors.extend(other.errors);
        Self { exit: self.exit.min(other.exit), errors: self.errors }
    }

    /// Each fault on its line.
    pub fn lines(&self) -> Vec<String> {
        self.errors.iter().map(line).collect()
    }
}

/// Chooses the exit code at the place that knows what failed.
pub trait OrExit<T> {
    /// The value, or a [`Failure`] with code `exit`; a full or unreadable disk stays [`Exit::Io`].
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(error.into(), exit))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::of(error, Exit::Internal)
    }
}

/// The code of errors that mean the same wherever they come from.
fn known(error: &anyhow::Error) -> Option<Exit> {
    error
        .chain()
        .find_map(|cause| {
            if let Some(error) = cause.downcast_ref::<PublishError>() {
                return Some(match error {
                    PublishError::Config(_) => Exit::Config,
                    PublishError::File { .. } => Exit::Io,
                    PublishError::Open { .. } | PublishError::Transport { .. } | PublishError::Busy => {
                        Exit::Unavailable
                    }
                    PublishError::Fit(_) | PublishError::Wire(_) => Exit::Data,
                });
            }
            if let Some(error) = cause.downcast_ref::<FetchError>() {
                let offline = matches!(
                    error,
                    FetchError::Unreachable { .. } | FetchError::Status { .. } | FetchError::Broken { .. }
                );
                return offline.then_some(Exit::Unavailable);
            }
            if let Some(error) = cause.downcast_ref::<OutputError>() {
                // The system's own errors are told apart below.
                return (!matches!(error, OutputError::Io { .. })).then_some(Exit::Config);
            }
            if cause.is::<NotFetched>() {
                return Some(Exit::Config);
            }
            // Below every WeightsError, also where that is the outermost error and so no link of the chain.
            cause
                .downcast_ref::<WeightsFault>()
                .map(|fault| if matches!(fault, WeightsFault::Io(_)) { Exit::Io } else { Exit::Data })
        })
        .or_else(|| is_file_trouble(error).then_some(Exit::Io))
}

/// Whether the root of the matter is a file that could not be read or written (not a network address).
fn is_file_trouble(error: &anyhow::Error) -> bool {
    use io::ErrorKind::*;
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|e| {
        matches!(
            e.kind(),
            NotFound
                | PermissionDenied
                | AlreadyExists
                | IsADirectory
                | NotADirectory
                | StorageFull
                | ReadOnlyFilesystem
        ) || e.raw_os_error() == Some(5)
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// The whole chain of causes on one line; control characters (a hostile file name) are escaped. A cause that its parent's
/// text already holds is not said twice.
fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.contains(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    let mut out = String::with_capacity(line.len());
    // Arguments and library errors are quoted in it: an address with its password may be among them.
    for c in redact(&line).chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        (failure.exit as u8).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use maskd_model::WeightsError;

    #[test]
    fn a_failure_is_one_line_and_says_nothing_twice() {
        let root = anyhow::anyhow!("no such\nelement \u{1b}[31m").context("stream front").context("stream front");
        assert_eq!(Failure::new(Exit::Config, root).to_string(), "stream front: no such element \\u{1b}[31m");
    }

    #[test]
    fn a_missing_file_is_told_from_wrong_content() {
        let weights = |fault| Err::<(), _>(WeightsError { path: "w.pth".into(), fault }).or_exit(Exit::Config);
        let gone = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(weights(WeightsFault::Io(gone)).unwrap_err().exit, Exit::Io);
        assert_eq!(weights(WeightsFault::Missing("norm.bias".to_owned())).unwrap_err().exit, Exit::Data);
        let missing: Result<(), _> = Err(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(missing.or_exit(Exit::Data).unwrap_err().exit, Exit::Io);
        let wrong: Result<(), _> = Err(io::Error::from(io::ErrorKind::InvalidData));
        assert_eq!(wrong.or_exit(Exit::Data).unwrap_err().exit, Exit::Data);
        let output = |error| Err::<(), _>(maskd_types::mask::MaskError::Output(error)).or_exit(Exit::Internal);
        assert_eq!(output(OutputError::Foreign("a.png".into())).unwrap_err().exit, Exit::Config);
        let full = OutputError::Io { path: "a.png".into(), source: io::ErrorKind::StorageFull.into() };
        assert_eq!(output(full).unwrap_err().exit, Exit::Io);
    }
}
