//! What can go wrong on the way out, whatever the transport.

use std::path::PathBuf;

use crate::{coarsen::FitError, wire::WireError};

/// What can go wrong with publishing.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The configuration is wrong.
    #[error("publish: {0}")]
    Config(String),
    /// The file that `zenoh_config` names cannot be read.
    #[error("publish: zenoh_config {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The session could not be opened.
    #[error("publish: cannot open zenoh ({what}): {cause}")]
    Open {
        /// Where it was to listen and connect.
        what: String,
        /// What zenoh said, on one line.
        cause: String,
    },
    /// A message that cannot be made to fit into the limit.
    #[error("publish: {0}")]
    Fit(#[from] FitError),
    /// A message could not be written or read.
    #[error("publish: {0}")]
    Wire(#[from] WireError),
    /// Too many events and status messages wait for a slow subscriber.
    #[error("publish: too many events are waiting for a slow subscriber")]
    Busy,
    /// The transport refused something else.
    #[error("publish: {what}: {cause}")]
    Transport {
        /// What was tried.
        what: &'static str,
        /// What zenoh said, on one line.
        cause: String,
    },
}
