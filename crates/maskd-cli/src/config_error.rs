//! What is wrong with a configuration: every fault, each on a line with file, line and key.

use std::fmt;

use super::Document;

/// One thing that is wrong.
#[derive(Debug)]
pub struct ConfigFault {
    /// Where it stands in the file, counted from 1; where no line says it, none.
    pub line: Option<usize>,
    /// The dotted key, as in `runtime.max_batch`, or the option of the command line that gave the value; empty where the
    /// text itself cannot be read.
    pub key: String,
    /// What is wrong, and what to do. Its chain of causes tells a file that is not there from one that cannot be used.
    pub cause: anyhow::Error,
    /// The value may stand; what it names cannot be used.
    pub data: bool,
}

/// A configuration that cannot be used. Prints as one line for each fault.
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
    /// What it says.
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// Every fault of one configuration, in the order of its lines.
#[derive(Debug, Default)]
pub struct Faults {
    /// The file's name; none where there is no file.
    file: Option<String>,
    list: Vec<ConfigFault>,
}

impl ConfigError {
    /// Faults of the file `name`, or nothing where there are none.
    ///
    /// # Errors
    /// The faults.
    pub fn check(name: &str, faults: Vec<ConfigFault>) -> Result<(), Self> {
        Faults::of(Some(name.to_owned()), faults).map_or(Ok(()), |faults| Err(Self::Faults(faults)))
    }

    /// A value that was read from `text` but must not be: `key` is dotted, as in `runtime.max_batch`.
    pub fn invalid(text: &str, file: &str, key: &str, message: &str) -> Self {
        let list = vec![Document::parse(text).0.wrong(key, message)];
        Self::Faults(Faults { file: Some(file.to_owned()), list })
    }
}

impl Faults {
    /// The faults by their lines, those without one first; nothing where there are none.
    pub fn of(file: Option<String>, mut list: Vec<ConfigFault>) -> Option<Self> {
        list.sort_by_key(|fault| fault.line);
        (!list.is_empty()).then_some(Self { file, list })
    }

    /// Each fault as an error of its own, with its place, and whether it is one of data.
    pub fn into_errors(self) -> impl Iterator<Item = (anyhow::Error, bool)> {
        let file = self.file;
        self.list.into_iter().map(move |fault| {
            let place = fault.place(file.as_deref());
            let error = if place.is_empty() { fault.cause } else { fault.cause.context(place) };
            (error, fault.data)
        })
    }
}

impl ConfigFault {
    /// `FILE:LINE: KEY`, as far as there is each of them.
    fn place(&self, file: Option<&str>) -> String {
        // What an option gave stands in no file.
        let file = file.filter(|_| !self.key.starts_with("--"));
        let file = file.map(|file| self.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")));
        let key = Some(self.key.clone()).filter(|key| !key.is_empty());
        file.into_iter().chain(key).collect::<Vec<_>>().join(": ")
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.list.iter().enumerate() {
            let (gap, place) = (if i == 0 { "" } else { "\n" }, fault.place(self.file.as_deref()));
            let colon = if place.is_empty() { "" } else { ": " };
            write!(f, "{gap}{place}{colon}{:#}", fault.cause)?;
        }
        Ok(())
    }
}
