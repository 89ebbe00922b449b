//! A file from the network, whole or not at all: bounded, verified, then renamed into place.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use ureq::http::Uri;

use super::catalogue::recorded;
use maskd_types::files::{self, OutputError};

/// No file larger than this is fetched, whatever a server says.
pub const MAX_BYTES: u64 = 2 << 30;

/// A file that was not fetched; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// An address that is not to be used.
    #[error("{url}: {why}")]
    Address {
        /// The address, without its query.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer: no network, a wrong name, a refusing host.
    #[error("cannot reach {host}: {why}; on a machine with network fetch {url}, copy it to {}", target.display())]
    Unreachable {
        /// Host and port.
        host: String,
        /// What happened.
        why: String,
        /// The address, without its query.
        url: String,
        /// Where the file belongs.
        target: PathBuf,
    },
    /// The host knows no such file.
    #[error("{url} does not exist (HTTP 404)")]
    NotFound {
        /// The address, without its query.
        url: String,
    },
    /// Another answer than the file.
    #[error("{url} was answered with HTTP {status}")]
    Status {
        /// The address, without its query.
        url: String,
        /// The status code.
        status: u16,
    },
    /// The connection ended or stalled inside the file.
    #[error("{url} broke off after {received} bytes: {why}")]
    Broken {
        /// The address, without its query.
        url: String,
        /// Bytes that came.
        received: u64,
        /// What happened.
        why: String,
    },
    /// Larger than anything we fetch.
    #[error("{url} is larger than {limit} bytes, the most that is fetched")]
    TooLarge {
        /// The address, without its query.
        url: String,
        /// The most that is fetched.
        limit: u64,
    },
    /// Another size than it must have.
    #[error("{url} has {found} bytes, expected {expected}")]
    Size {
        /// The address, without its query.
        url: String,
        /// Its size.
        found: u64,
        /// The size it must have.
        expected: u64,
    },
    /// Another hash than it must have.
    #[error("{what} has SHA-256 {found}, expected {expected}")]
    Hash {
        /// The address, without its query, or the file.
        what: String,
        /// Its hash.
        found: String,
        /// The hash it must have.
        expected: String,
    },
    /// Something is in its place that was not fetched.
    #[error("{0}")]
    Output(#[source] OutputError),
    /// The file could not be written here.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a file must be; what is `None` is not checked.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Bytes.
    pub size: Option<u64>,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// Whether `path` was fetched, or checked where it lay: its hash is on record.
fn is_fetched(path: &Path) -> io::Result<bool> {
    Ok(recorded(path)?.is_some())
}

/// A file on its way: a temporary file beside its target, gone when this is dropped before [`Part::keep`].
#[derive(Debug)]
pub struct Part {
    temp: NamedTempFile,
    target: PathBuf,
}

/// A file that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// Bytes.
    pub size: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

impl Part {
    /// An empty part of `target`; makes the folder where it is missing.
    ///
    /// # Errors
    /// [`FetchError::Io`]; [`FetchError::Output`] where something is there that has no record.
    pub fn of(target: &Path) -> Result<Self, FetchError> {
        let folder = target.parent().unwrap_or(Path::new("."));
        let io = |source| FetchError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        files::check_target(target, &is_fetched).map_err(FetchError::Output)?;
        let temp = files::beside(target, "").map_err(FetchError::Output)?;
        Ok(Self { temp, target: target.to_owned() })
    }

    /// The temporary file, for who must remove it when there is no time to drop this.
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Fills this from `url`, telling `progress` the bytes so far and the size where it is known, and verifies it.
    /// Blocks; a server that says nothing for a minute has failed.
    ///
    /// # Errors
    /// Every [`FetchError`]; in each case the target is untouched.
    pub fn download(
        &mut self,
        url: &str,
        expected: &Expected,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Download, FetchError> {
        let shown = || without_secrets(url);
        let (host, local) = checked_host(url, expected).map_err(|why| FetchError::Address { url: shown(), why })?;
        let limit = expected.size.unwrap_or(MAX_BYTES).min(MAX_BYTES);
        let wrong_size = |found| match expected.size {
            Some(expected) if expected <= MAX_BYTES => FetchError::Size { url: shown(), found, expected },
            _ => FetchError::TooLarge { url: shown(), limit: MAX_BYTES },
        };

        let mut config = ureq::Agent::config_builder();
        if local {
            // No proxy can reach this machine's loopback.
            config = config.proxy(None);
        }
        let agent = config
            // A redirect must not lead from a verified host to an unverified one.
            .https_only(url.starts_with("https://"))
            // The bytes as they are: a size and a hash of something unpacked would be others.
            .accept_encoding("identity")
            .user_agent(concat!("maskd/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(Duration::from_secs(20)))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let mut response = agent.get(url).call().map_err(|e| match e {
            ureq::Error::StatusCode(404) => FetchError::NotFound { url: shown() },
            ureq::Error::StatusCode(status) => FetchError::Status { url: shown(), status },
            e => {
                let why = if let ureq::Error::Io(e) = &e { e.to_string() } else { e.to_string() };
                FetchError::Unreachable { host, why, url: shown(), target: self.target.clone() }
            }
        })?;
        let announced = response.body().content_length();
        if let Some(size) = announced
            && (size > limit || expected.size.is_some_and(|e| e != size))
        {
            return Err(wrong_size(size));
        }

        let io = |source| FetchError::Io { path: self.target.clone(), source };
        let mut body = response.body_mut().as_reader();
        let (mut hash, mut received, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            progress(received, announced);
            let broken = |e: io::Error| FetchError::Broken { url: shown(), received, why: e.to_string() };
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(broken(e)),
            };
            received += count as u64;
            if received > limit {
                return Err(wrong_size(received));
            }
            hash.update(&buffer[..count]);
            self.temp.write_all(&buffer[..count]).map_err(io)?;
        }
        if announced.is_some_and(|size| size != received) {
            let why = format!("{} were announced", announced.unwrap_or_default());
            return Err(FetchError::Broken { url: shown(), received, why });
        }
        if expected.size.is_some_and(|size| size != received) {
            return Err(wrong_size(received));
        }
        let sha256 = hex::encode(hash.finalize());
        verify(&shown(), &sha256, expected.sha256.as_deref())?;
        self.temp.as_file().sync_all().map_err(io)?;
        Ok(Download { size: received, sha256 })
    }

    /// Puts this in its target's place in one step.
    ///
    /// # Errors
    /// [`FetchError::Output`]; the target is as it was.
    pub fn keep(self) -> Result<(), FetchError> {
        let Self { temp, target } = self;
        files::put(temp.into_temp_path(), &target, &is_fetched).map_err(FetchError::Output)?;
        // The name must survive a power cut as well; a filesystem that cannot do it has the file all the same.
        if let Some(folder) = target.parent() {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

/// An address without its query and the password of a mirror.
fn without_secrets(url: &str) -> String {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = place.split_once("://") else { return place.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
}

/// The host to name in messages and whether it is this machine, where the address may be used at all.
fn checked_host(url: &str, expected: &Expected) -> Result<(String, bool), String> {
    let uri: Uri = url.parse().map_err(|e| format!("not an address: {e}"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("not an address: it starts with https://".to_owned());
    };
    let host = authority.host().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "https" => {}
        "http" if local || expected.sha256.is_some() => {}
        "http" => {
            return Err("use https://, or give --sha256: over http:// anybody on the way can change it".to_owned());
        }
        _ => return Err("only https:// is fetched".to_owned()),
    }
    Ok((authority.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")), local))
}

/// Whether `found` is what it must be.
///
/// # Errors
/// [`FetchError::Hash`], naming `what`.
pub fn verify(what: &str, found: &str, expected: Option<&str>) -> Result<(), FetchError> {
    match expected {
        Some(expected) if expected != found => {
            Err(FetchError::Hash { what: what.to_owned(), found: found.to_owned(), expected: expected.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The SHA-256 of a file, lower-case hexadecimal.
///
/// # Errors
/// [`FetchError::Io`].
pub fn sha256_of(path: &Path) -> Result<String, FetchError> {
    let io = |source| FetchError::Io { path: path.to_owned(), source };
    let mut file = files::open(path, u64::MAX).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}
