//! Messages out, prompts in: the only module that knows zenoh.
//!
//! [`Publisher`] is the daemon's session, [`StreamPublisher`] one camera's part of it, [`Reader`] and [`ask`] the other
//! end: what `maskd watch` and `maskd prompt` use. [`wire`] describes the messages, [`keys`] where they are found.
//!
//! zenoh's calls are short but not asynchronous inside, and its sessions need tokio's multi-thread runtime.

mod ask;
mod coarsen;
mod config;
mod desk;
pub mod keys;
mod reader;
mod session;
mod stream;
pub mod wire;

pub use ask::{Answer, Reloading, ask, reload};
pub use config::{DEFAULT_ENDPOINT, Mode, PublishConfig};
pub use desk::{PromptAnswer, PromptRequest, ReloadRequest};
pub use reader::{Reader, Received};
pub use session::Publisher;
pub use stream::{Published, StreamPublisher};

use std::path::PathBuf;

use wire::WireError;

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
    /// A message is too large however coarse its masks are.
    #[error("publish: {bytes} bytes are more than max_message_bytes = {limit}, even with coarsened masks")]
    TooLarge {
        /// Bytes of the smallest form.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A message could not be written or read.
    #[error("publish: {0}")]
    Wire(#[from] WireError),
    /// The masks of a message are not what they say.
    #[error("publish: {0}")]
    Mask(String),
    /// Too many events and status messages wait for a slow subscriber.
    #[error("publish: too many events are waiting for a slow subscriber")]
    Busy,
    /// zenoh refused something else.
    #[error("publish: {what}: {cause}")]
    Zenoh {
        /// What was tried.
        what: &'static str,
        /// What zenoh said, on one line.
        cause: String,
    },
}

/// Wraps zenoh's error.
fn refused(what: &'static str) -> impl Fn(zenoh::Error) -> PublishError {
    move |e| PublishError::Zenoh { what, cause: cause(&e) }
}

/// What zenoh says, on one line, without the places in its source that it names.
fn cause(error: &zenoh::Error) -> String {
    let text = error.to_string();
    let mut words = text.split_whitespace().peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match words.next_if(|place| word == "at" && place.contains(".rs:")) {
            // "... at /path/file.rs:61.] at ...": the bracket closes what stands before.
            Some(place) if place.ends_with(']') => kept.push("]"),
            Some(_) => {}
            None => kept.push(word),
        }
    }
    wire::one_line(&kept.join(" "))
}
