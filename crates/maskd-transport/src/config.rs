//! The `[publish]` part of the configuration, and the zenoh configuration that follows from it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zenoh::config::{Config, EndPoint};

use super::{PublishError, cause};
use maskd_observability::redact::redact_value;
use maskd_protocol::{
    keys::Site,
    wire::{self, Format},
};
use maskd_types::files;

/// How the daemon takes part in the zenoh network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Listens, and connects where told to: needs nothing else on the network.
    #[default]
    Peer,
    /// Connects to a router (`zenohd`) and sends everything through it.
    Client,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Client => "client",
        }
    }
}

/// Where and how messages are published.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Name of this daemon's place, the second part of every key: 1 to 64 of `a-z 0-9 - _`. Default `local`.
    pub site: Site,
    /// `peer` (default) or `client`.
    pub mode: Mode,
    /// Endpoints to listen on. Without it a peer listens on `tcp/127.0.0.1:7447` (this machine only), or where
    /// `zenoh_config` says; a client never listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<String>>,
    /// Endpoints to connect to, such as `tcp/192.0.2.7:7447`. A client needs at least one.
    pub connect: Vec<String>,
    /// Look for other peers by UDP multicast on the local network. Default false.
    pub multicast: bool,
    /// `json` (default) or `cbor`.
    pub encoding: Format,
    /// The most bytes of a masks message, 1024 to 65000; larger ones are coarsened. zenoh drops parts of messages
    /// above one batch (65,535 bytes) under congestion. Default 60000.
    pub max_message_bytes: usize,
    /// Answer queries on `maskd/v1/<site>/control/reload` by reading the configuration again. Default false.
    pub control: bool,
    /// A zenoh configuration file (JSON5) to build on: the place for TLS certificates and access control.
    /// `mode`, `connect`, `multicast` and (where given) `listen` above win over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zenoh_config: Option<PathBuf>,
}

/// Where a peer listens unless told otherwise: reachable from this machine only.
pub const DEFAULT_ENDPOINT: &str = "tcp/127.0.0.1:7447";

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            site: Site::default(),
            mode: Mode::Peer,
            listen: None,
            connect: Vec::new(),
            multicast: false,
            encoding: Format::Json,
            max_message_bytes: 60_000,
            control: false,
            zenoh_config: None,
        }
    }
}

/// Without keys and passwords: endpoints may carry them.
impl fmt::Debug for PublishConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |endpoints: &[String]| endpoints.iter().map(|e| shown(e)).collect::<Vec<_>>();
        f.debug_struct("PublishConfig")
            .field("site", &self.site)
            .field("mode", &self.mode)
            .field("listen", &self.listen.as_deref().map(all))
            .field("connect", &all(&self.connect))
            .field("multicast", &self.multicast)
            .field("encoding", &self.encoding)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("control", &self.control)
            .field("zenoh_config", &self.zenoh_config.as_ref().map(|path| shown(&path.to_string_lossy())))
            .finish()
    }
}

impl PublishConfig {
    /// What types cannot tell: ranges, endpoints, and what each mode needs; each key in `[publish]`, and what to do. Reads
    /// no file.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1024..=65_000).contains(&self.max_message_bytes) {
            faults.push(("max_message_bytes", format!("{} is not in 1024 to 65000", self.max_message_bytes)));
        }
        for (key, endpoints) in [("listen", self.listen.as_deref().unwrap_or_default()), ("connect", &self.connect)] {
            let refused = |endpoint: &String| check_endpoint(endpoint).err().map(|why| (key, why));
            faults.extend(endpoints.iter().filter_map(refused));
        }
        if self.mode == Mode::Client && self.connect.is_empty() && !self.multicast {
            let needs = "mode = \"client\" needs a router's endpoint here, such as \"tcp/192.0.2.7:7447\"";
            faults.push(("connect", needs.to_owned()));
        }
        if self.mode == Mode::Client && self.listen.as_ref().is_some_and(|l| !l.is_empty()) {
            faults.push(("listen", "mode = \"client\" cannot listen: remove it, or use mode = \"peer\"".to_owned()));
        }
        faults
    }

    /// As [`PublishConfig::faults`], the first of them as an error.
    ///
    /// # Errors
    /// A value that cannot be.
    pub fn validate(&self) -> Result<(), PublishError> {
        match self.faults().into_iter().next() {
            Some((key, wrong)) => Err(PublishError::Config(format!("{key}: {wrong}"))),
            None => Ok(()),
        }
    }

    /// As [`PublishConfig::validate`], and reads what `zenoh_config` names. Nothing is opened.
    ///
    /// # Errors
    /// A file that is not there or that zenoh does not understand.
    pub fn check(&self) -> Result<(), PublishError> {
        self.to_zenoh().map(drop)
    }

    /// The zenoh configuration of the daemon's session.
    pub(super) fn to_zenoh(&self) -> Result<Config, PublishError> {
        self.validate()?;
        let mut config = match &self.zenoh_config {
            Some(path) => read_base(path)?,
            None => Config::default(),
        };
        // A file that does not say where to listen leaves zenoh's default in place, which is every interface.
        let default = Config::default();
        let in_file = |key: &str| {
            let given = config.get_json(key).unwrap_or_default();
            given.contains('/') && default.get_json(key).unwrap_or_default() != given
        };
        let listen: Option<Vec<String>> = match (&self.listen, self.mode) {
            (_, Mode::Client) => Some(Vec::new()),
            (Some(listen), _) => Some(listen.clone()),
            (None, _) if in_file("listen/endpoints") => None,
            (None, _) => Some(vec![DEFAULT_ENDPOINT.to_owned()]),
        };
        let connect = (!self.connect.is_empty() || !in_file("connect/endpoints")).then(|| self.connect.clone());
        if let Some(listen) = listen {
            set(&mut config, "listen/endpoints", &listen)?;
        }
        if let Some(connect) = connect {
            set(&mut config, "connect/endpoints", &connect)?;
        }
        set(&mut config, "mode", &self.mode.as_str())?;
        set(&mut config, "scouting/multicast/enabled", &self.multicast)?;
        if !self.multicast {
            no_strangers(&mut config)?;
        }
        // A router that is down is an error after a while, not a daemon that hangs before its first line of log.
        if self.mode == Mode::Client {
            set(&mut config, "connect/timeout_ms", &10_000)?;
        }
        // The history of events and status is ordered by time.
        set(&mut config, "timestamping/enabled", &true)?;
        // The largest thing anybody may send to a daemon is a prompt; leave room to refuse one by name.
        set(&mut config, "transport/link/rx/max_message_size", &(4 * wire::MAX_PROMPT_BYTES))?;
        Ok(config)
    }
}

/// The zenoh configuration of somebody who only looks and asks: connects, never listens, and keeps trying.
pub(super) fn reader_config(connect: &[String], base: Option<&Path>) -> Result<Config, PublishError> {
    let refused = |why| PublishError::Config(format!("connect: {why}"));
    connect.iter().try_for_each(|endpoint| check_endpoint(endpoint).map_err(refused))?;
    let mut config = base.map_or_else(|| Ok(Config::default()), read_base)?;
    set(&mut config, "mode", &"peer")?;
    set(&mut config, "listen/endpoints", &Vec::<String>::new())?;
    set(&mut config, "connect/endpoints", &connect)?;
    set(&mut config, "scouting/multicast/enabled", &false)?;
    no_strangers(&mut config)?;
    set(&mut config, "timestamping/enabled", &true)?;
    set(&mut config, "transport/link/rx/max_message_size", &(4 * wire::MAX_MESSAGE_BYTES))?;
    Ok(config)
}

/// Where somebody beyond this machine can connect, and what is missing there; `None` where nothing is.
pub(super) fn opening(config: &Config) -> Option<String> {
    let is_true = |key: &str| config.get_json(key).is_ok_and(|value| value == "true");
    let listen = config.get_json("listen/endpoints").unwrap_or_default();
    // Whatever the form (a list, or lists by mode), endpoints are the strings with a protocol.
    let endpoints = listen.split('"').filter(|text| text.contains('/'));
    let local = |e: &&str| ["/127.", "/[::1]", "/localhost", "unixsock-stream/"].iter().any(|local| e.contains(local));
    let open: Vec<&str> = endpoints.filter(|e| !local(e)).collect();
    let certified = |e: &&str| {
        e.starts_with("tls/") && (is_true("transport/link/tls/enable_mtls") || e.contains("enable_mtls=true"))
    };
    let missing: Vec<_> = [
        ("TLS that asks for certificates", open.iter().all(certified)),
        ("access control", is_true("access_control/enabled")),
    ]
    .into_iter()
    .filter_map(|(what, there)| (!there).then_some(what))
    .collect();
    let shown: Vec<_> = open.iter().map(|e| shown(e)).collect();
    (!open.is_empty() && !missing.is_empty())
        .then(|| format!("listening on {shown:?} without {}", missing.join(" and ")))
}

/// Peers tell each other of further peers: listen to it, but connect to none that the configuration does not name.
fn no_strangers(config: &mut Config) -> Result<(), PublishError> {
    set(config, "scouting/gossip/autoconnect", &serde_json::json!({"router": [], "peer": []}))
}

fn read_base(path: &Path) -> Result<Config, PublishError> {
    let bad = |cause: &dyn std::fmt::Display| {
        PublishError::Config(format!("zenoh_config {}: {}", path.display(), wire::one_line(cause)))
    };
    let text = files::read_text(path).map_err(|source| PublishError::File { path: path.to_owned(), source })?;
    Config::from_json5(&text).map_err(|e| bad(&cause(&e)))
}

/// An endpoint without its settings, among which keys and passwords may be.
pub(super) fn shown(endpoint: &str) -> String {
    // What is no endpoint, but some other address, may hold a password before its `?` or behind it.
    let hidden = redact_value(endpoint);
    hidden.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let bad = |why: String| Err(format!("endpoint {:?}: {why}", shown(endpoint)));
    match endpoint.parse::<EndPoint>() {
        Err(_) => bad("write it as protocol/address, such as \"tcp/127.0.0.1:7447\"".to_owned()),
        Ok(e) if !["tcp", "tls", "unixsock-stream"].contains(&e.protocol().as_str()) => {
            bad(format!("protocol {} is not one of tcp, tls, unixsock-stream", e.protocol().as_str()))
        }
        Ok(_) => Ok(()),
    }
}

fn set<T: Serialize + ?Sized>(config: &mut Config, key: &str, value: &T) -> Result<(), PublishError> {
    let refused =
        |e: &dyn std::fmt::Display| PublishError::Config(format!("zenoh refuses {key}: {}", wire::one_line(e)));
    let json = serde_json::to_string(value).map_err(|e| refused(&e))?;
    config.insert_json5(key, &json).map_err(|e| refused(&cause(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_open_is_said() {
        let closed = "access_control: { enabled: true, default_permission: 'deny' }, \
                      transport: { link: { tls: { enable_mtls: true } } }";
        let mtls = "transport: { link: { tls: { enable_mtls: true } } }";
        for (listen, more, said) in [
            ("tcp/127.0.0.1:7447", "", None),
            ("tcp/[::1]:7447", "", None),
            ("unixsock-stream//run/maskd.sock", "", None),
            ("tls/0.0.0.0:7447", closed, None),
            ("tls/0.0.0.0:7447", mtls, Some("without access control")),
            ("tls/0.0.0.0:7447", "", Some("without TLS that asks for certificates and access control")),
            (
                "tcp/192.0.2.7:7447?prio=1",
                closed,
                Some("[\"tcp/192.0.2.7:7447\"] without TLS that asks for certificates"),
            ),
        ] {
            let config = Config::from_json5(&format!("{{ listen: {{ endpoints: ['{listen}'] }}, {more} }}")).unwrap();
            match (opening(&config), said) {
                (None, None) => {}
                (Some(text), Some(said)) => assert!(text.ends_with(said), "{text}"),
                (text, _) => panic!("{listen} {more}: {text:?}"),
            }
        }
        assert!(opening(&Config::default()).is_some(), "zenoh's own default is every interface");
    }

    #[test]
    fn a_zenoh_file_that_does_not_say_where_leaves_the_daemon_on_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zenoh.json5");
        let listens = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let config = PublishConfig { zenoh_config: Some(path.clone()), ..PublishConfig::default() };
            config.to_zenoh().unwrap().get_json("listen/endpoints").unwrap()
        };
        for silent in ["{}", "{ transport: { link: { tls: { enable_mtls: true } } } }", "{ listen: { endpoints: [] } }"]
        {
            assert_eq!(listens(silent), format!("[\"{DEFAULT_ENDPOINT}\"]"), "{silent}");
        }
        assert_eq!(listens("{ listen: { endpoints: ['tls/0.0.0.0:1'] } }"), r#"["tls/0.0.0.0:1"]"#);
    }
}
