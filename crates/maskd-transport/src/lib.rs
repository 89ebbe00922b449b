//! Messages out, prompts in: the only crate that knows zenoh.
//!
//! [`Publisher`] is a way out of the daemon and [`StreamPublisher`] one camera's part of it: traits, since there may be others
//! than zenoh, and several at once ([`Publishers`]). [`ZenohPublisher`] is the daemon's zenoh session, [`Reader`] and [`ask`]
//! the other end: what `maskd watch` and `maskd prompt` use. The messages and where they are found are described in
//! `maskd_protocol`.
//!
//! zenoh's calls are short but not asynchronous inside, and its sessions need tokio's multi-thread runtime.

mod ask;
mod config;
mod outgoing;
mod publisher;
mod queries;
mod reader;
mod requests;
mod session;
mod several;
mod stream;

pub use ask::{Answer, Reloading, ask, reload};
pub use config::{DEFAULT_ENDPOINT, Mode, PublishConfig};
pub use publisher::{Capabilities, Published, Publisher, StreamPublisher};
pub use reader::{Reader, Received};
pub use requests::{PromptAnswer, PromptRequest, ReloadRequest, Requests};
pub use session::ZenohPublisher;
pub use several::Publishers;

pub use maskd_protocol::PublishError;
use maskd_protocol::wire;

/// Wraps zenoh's error.
fn refused(what: &'static str) -> impl Fn(zenoh::Error) -> PublishError {
    move |e| PublishError::Transport { what, cause: cause(&e) }
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
