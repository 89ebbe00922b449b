//! Key expressions: `maskd/v1/<site>/<stream>/<topic>`, and keys of the daemon itself,
//! `maskd/v1/<site>/alive`, `maskd/v1/<site>/config` and `maskd/v1/<site>/control/reload`.
//!
//! Sites and streams are short lower-case ASCII names, so that no name can hold a separator, a wildcard, or the `@`
//! that hides a key from wildcards.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use maskd_types::frame::StreamId;

/// What every key begins with; the number is the version of the messages.
pub const PREFIX: &str = "maskd/v1";

/// The name of one daemon's place: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`, as a [`StreamId`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Site(Arc<str>);

/// A site name that cannot be a [`Site`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("site name {0:?}: use 1 to 64 characters of a-z, 0-9, '-' and '_'")]
pub struct BadSite(String);

impl FromStr for Site {
    type Err = BadSite;

    fn from_str(name: &str) -> Result<Self, BadSite> {
        match name.parse::<StreamId>() {
            Ok(_) => Ok(Self(name.into())),
            Err(_) => Err(BadSite(name.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Site {
    type Error = BadSite;

    fn try_from(name: String) -> Result<Self, BadSite> {
        name.parse()
    }
}

impl From<Site> for String {
    fn from(site: Site) -> Self {
        site.0.as_ref().to_owned()
    }
}

impl Default for Site {
    fn default() -> Self {
        Self("local".into())
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The last part of a stream's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// One message a frame; a query answers with the newest.
    Masks,
    /// Stream up and down, instances appeared and ended.
    Events,
    /// A summary, sparingly; a query answers with the newest.
    Status,
    /// JPEG pictures, only while somebody subscribes.
    Preview,
    /// Where prompts are sent to.
    Prompt,
    /// The liveliness token.
    Alive,
}

impl Topic {
    const ALL: [Self; 6] = [Self::Masks, Self::Events, Self::Status, Self::Preview, Self::Prompt, Self::Alive];

    /// The word in the key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Masks => "masks",
            Self::Events => "events",
            Self::Status => "status",
            Self::Preview => "preview",
            Self::Prompt => "prompt",
            Self::Alive => "alive",
        }
    }
}

/// The key of a stream's topic.
pub fn stream_key(site: &Site, stream: &StreamId, topic: Topic) -> String {
    format!("{PREFIX}/{site}/{stream}/{}", topic.as_str())
}

/// The key expression of a topic of one or all (`None`) sites and streams.
pub fn stream_selector(site: Option<&Site>, stream: Option<&StreamId>, topic: Topic) -> String {
    let or_any = |name: Option<&dyn fmt::Display>| name.map_or_else(|| "*".to_owned(), ToString::to_string);
    let (site, stream) = (or_any(site.map(|s| s as _)), or_any(stream.map(|s| s as _)));
    format!("{PREFIX}/{site}/{stream}/{}", topic.as_str())
}

/// The key of a daemon's liveliness token.
pub fn daemon_alive(site: &Site) -> String {
    format!("{PREFIX}/{site}/alive")
}

/// The key whose query answers with the daemon's configuration.
pub fn daemon_config(site: &Site) -> String {
    format!("{PREFIX}/{site}/config")
}

/// The key whose query has the daemon read its configuration again, where it is allowed to.
pub fn daemon_reload(site: &Site) -> String {
    format!("{PREFIX}/{site}/control/reload")
}

/// The site, stream and topic of a stream's key; `None` for every other key.
pub fn parse(key: &str) -> Option<(Site, StreamId, Topic)> {
    let mut parts = key.strip_prefix(PREFIX)?.strip_prefix('/')?.split('/');
    let (site, stream, word) = (parts.next()?, parts.next()?, parts.next()?);
    let topic = Topic::ALL.into_iter().find(|t| t.as_str() == word)?;
    if parts.next().is_some() {
        return None;
    }
    Some((site.parse().ok()?, stream.parse().ok()?, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_break_a_key_are_refused() {
        for bad in ["", "a/b", "*", "**", "$*", "@x", "a#b", "a?b", "Ü", "a b", &"x".repeat(65)] {
            let error = bad.parse::<Site>().unwrap_err().to_string();
            assert!(error.starts_with("site name") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn keys_read_back_as_written() {
        let (site, stream): (Site, StreamId) = ("yard".parse().unwrap(), "gate-2".parse().unwrap());
        assert_eq!(stream_key(&site, &stream, Topic::Masks), "maskd/v1/yard/gate-2/masks");
        for topic in Topic::ALL {
            assert_eq!(parse(&stream_key(&site, &stream, topic)), Some((site.clone(), stream.clone(), topic)));
        }
        for other in [
            "maskd/v1/yard/alive",
            "maskd/v1/yard/control/reload",
            "maskd/v2/yard/gate-2/masks",
            "maskd/v1/yard/gate-2/masks/x",
            "maskd/v1/Y/g/masks",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(stream_selector(None, Some(&stream), Topic::Events), "maskd/v1/*/gate-2/events");
    }
}
