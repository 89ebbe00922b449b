//! Where published weights are, what is known of them, and where they are kept on this machine.

use std::{
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use maskd_types::files;

/// The host of the official files.
const OFFICIAL: &str = "https://dl.fbaipublicfiles.com";
/// The host of Hugging Face repositories.
const HUB: &str = "https://huggingface.co";

/// One officially published backbone.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name in PyTorch Hub, e.g. `dino_vits8`.
    pub name: &'static str,
    /// Its file's name without `.pth`; also accepted as a name.
    pub file: &'static str,
    /// Its folder on the official host.
    folder: &'static str,
    /// What it is.
    pub about: &'static str,
    /// About how large it is, in megabytes (10^6 bytes).
    pub megabytes: u32,
    /// Its exact size in bytes, where that is known.
    pub size: Option<u64>,
    /// Its SHA-256, where that is known: the authors publish none.
    pub sha256: Option<&'static str>,
}

const fn dino(name: &'static str, file: &'static str, about: &'static str, megabytes: u32) -> Known {
    Known { name, file, folder: "dino", about, megabytes, size: None, sha256: None }
}

/// The official backbones that maskd reads.
pub const KNOWN: [Known; 5] = [
    dino("dino_vits8", "dino_deitsmall8_pretrain", "DINO ViT-S, patch 8", 87),
    dino("dino_vits16", "dino_deitsmall16_pretrain", "DINO ViT-S, patch 16", 87),
    dino("dino_vitb8", "dino_vitbase8_pretrain", "DINO ViT-B, patch 8", 343),
    dino("dino_vitb16", "dino_vitbase16_pretrain", "DINO ViT-B, patch 16", 343),
    Known {
        name: "dinov2_vits14",
        file: "dinov2_vits14_pretrain",
        folder: "dinov2",
        about: "DINOv2 ViT-S, patch 14",
        megabytes: 88,
        size: Some(88_283_115),
        sha256: Some("b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    },
];

/// Where weights are fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadSource {
    /// An official file, by name.
    Known(&'static Known),
    /// `hf:OWNER/REPO[@REVISION]`.
    HuggingFace {
        /// `OWNER/REPO`.
        repository: String,
        /// A branch, tag or commit.
        revision: String,
    },
    /// `https://...`; `http://` only where the hash is given, or on this machine.
    Url(String),
}

/// A place to try, and the file's name in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The whole address.
    pub url: String,
    /// A plain file name.
    pub file: String,
}

/// Text that names no weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// Neither a known name nor one of the other forms.
    #[error("{0:?} is none of the known weights (maskd weights list), nor hf:OWNER/REPO[@REVISION], nor https://...")]
    Unknown(String),
    /// `hf:` with something else behind it.
    #[error("{0:?}: a Hugging Face repository is written hf:OWNER/REPO or hf:OWNER/REPO@REVISION")]
    HuggingFace(String),
    /// An address that no file name can be read from, or that holds a password.
    #[error("{0}: the address must end in a file name of letters, digits, '.', '_' and '-', and hold no password")]
    Url(String),
    /// A mirror for an address that is already complete.
    #[error("--endpoint goes with a known name or with hf:, not with a whole address")]
    Endpoint,
}

/// Letters, digits, `.`, `_` and `-`, not hidden and not too long: a name that is safe in a path and in an address.
fn plain(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=128).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(allowed)
}

impl FromStr for DownloadSource {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        if let Some(known) = KNOWN.iter().find(|k| text == k.name || text == k.file) {
            return Ok(Self::Known(known));
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
            let parts: Vec<&str> = repository.split('/').collect();
            let sound = parts.len() == 2 && parts.into_iter().all(plain) && revision.split('/').all(plain);
            return if sound {
                Ok(Self::HuggingFace { repository: repository.to_owned(), revision: revision.to_owned() })
            } else {
                Err(BadSource::HuggingFace(text.chars().take(200).collect()))
            };
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::Url(text.to_owned()));
        }
        Err(BadSource::Unknown(text.chars().take(200).collect()))
    }
}

impl DownloadSource {
    /// The addresses to try in order; the next one only where the one before does not exist.
    /// `endpoint` stands in for the official host or for Hugging Face's.
    ///
    /// # Errors
    /// Where the address gives no plain file name, or the endpoint has no place in it.
    pub fn addresses(&self, endpoint: Option<&str>) -> Result<Vec<Address>, BadSource> {
        let base = |official: &str| endpoint.unwrap_or(official).trim_end_matches('/').to_owned();
        match self {
            Self::Known(k) => {
                let url = format!("{}/{}/{}/{}.pth", base(OFFICIAL), k.folder, k.folder_name(), k.file);
                Ok(vec![Address { url, file: format!("{}.pth", k.file) }])
            }
            Self::HuggingFace { repository, revision } => {
                let mut name = repository.replace('/', "--");
                if revision != "main" {
                    name = format!("{name}--{}", revision.replace('/', "--"));
                }
                let place = format!("{}/{repository}/resolve/{revision}", base(HUB));
                let at = |file: &str, ending: &str| Address {
                    url: format!("{place}/{file}"),
                    file: format!("{name}.{ending}"),
                };
                Ok(vec![at("model.safetensors", "safetensors"), at("pytorch_model.bin", "pth")])
            }
            Self::Url(_) if endpoint.is_some() => Err(BadSource::Endpoint),
            Self::Url(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or_default();
                let (place, _) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
                let (authority, path) = place.split_once('/').unwrap_or((place, ""));
                let file = path.rsplit('/').next().unwrap_or_default();
                // A password is not repeated, not even to say that it is in the wrong place.
                let shown = || format!("{scheme}://{}/{path}", authority.rsplit('@').next().unwrap_or_default());
                if !plain(file) || file.ends_with(".sha256") || authority.contains('@') {
                    return Err(BadSource::Url(shown()));
                }
                Ok(vec![Address { url: url.clone(), file: file.to_owned() }])
            }
        }
    }

    /// Exact size and SHA-256, where they are known.
    pub fn known(&self) -> (Option<u64>, Option<&'static str>) {
        match self {
            Self::Known(k) => (k.size, k.sha256),
            _ => (None, None),
        }
    }
}

impl Known {
    /// DINO's folders are called like the file, DINOv2's like the model.
    fn folder_name(&self) -> &'static str {
        if self.folder == "dino" { self.file } else { self.name }
    }
}

/// Where fetched weights are kept: `maskd/weights` in the user's cache (`$XDG_CACHE_HOME` or `~/.cache`).
/// `None` where the user has no home.
pub fn cache_dir() -> Option<PathBuf> {
    Some(directories::ProjectDirs::from("", "", "maskd")?.cache_dir().join("weights"))
}

/// The file that records the SHA-256 of `weights`, in the format of `sha256sum`.
pub fn record_path(weights: &Path) -> PathBuf {
    let mut name = weights.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// The SHA-256 recorded beside `weights`, lower-case hexadecimal; `None` where nothing is recorded.
///
/// # Errors
/// Where the record is there but cannot be read, or is no SHA-256.
pub fn recorded(weights: &Path) -> io::Result<Option<String>> {
    let text = match files::read_text(&record_path(weights)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    text.split_whitespace().next().and_then(parse_sha256).map(Some).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: no SHA-256 in it", record_path(weights).display()))
    })
}

/// `text` as lower-case hexadecimal, where it is a SHA-256.
pub fn parse_sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(source: &str, endpoint: Option<&str>) -> Vec<(String, String)> {
        let source: DownloadSource = source.parse().unwrap();
        source.addresses(endpoint).unwrap().into_iter().map(|a| (a.url, a.file)).collect()
    }

    #[test]
    fn each_form_leads_to_its_address_and_file() {
        let small = "https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth";
        assert_eq!(urls("dino_vits8", None), [(small.into(), "dino_deitsmall8_pretrain.pth".into())]);
        assert_eq!(urls("dino_deitsmall8_pretrain", None), urls("dino_vits8", None));
        let v2 = "http://[::1]:9/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth";
        assert_eq!(urls("dinov2_vits14", Some("http://[::1]:9/")), [(v2.into(), "dinov2_vits14_pretrain.pth".into())]);
        let hub = "https://huggingface.co/facebook/dino-vits8/resolve";
        assert_eq!(
            urls("hf:facebook/dino-vits8", None),
            [
                (format!("{hub}/main/model.safetensors"), "facebook--dino-vits8.safetensors".into()),
                (format!("{hub}/main/pytorch_model.bin"), "facebook--dino-vits8.pth".into()),
            ]
        );
        assert_eq!(
            urls("hf:facebook/dino-vits8@refs/pr/1", None)[0].1,
            "facebook--dino-vits8--refs--pr--1.safetensors"
        );
        assert_eq!(urls("https://a.example/w/x.pth?download=1", None)[0].1, "x.pth");
    }

    #[test]
    fn what_could_leave_the_cache_or_show_a_password_is_refused() {
        for bad in
            ["nonsense", "", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/b@../../x", "hf:a/b@", "ftp://a/b", "/etc/passwd"]
        {
            assert!(bad.parse::<DownloadSource>().is_err(), "{bad:?}");
        }
        let slashes = "https://a.example/";
        for bad in
            [slashes, "https://a.example", "https://a/..", "https://a/%2e%2e", "https://a/.x", "https://a/x.sha256"]
        {
            assert!(bad.parse::<DownloadSource>().unwrap().addresses(None).is_err(), "{bad:?}");
        }
        let secret = "https://me:hunter2@a.example/x.pth?token=hunter3".parse::<DownloadSource>().unwrap();
        let message = secret.addresses(None).unwrap_err().to_string();
        assert!(message.starts_with("https://a.example/x.pth: ") && !message.contains("hunter"), "{message}");
        let whole = "https://a.example/x.pth".parse::<DownloadSource>().unwrap();
        assert_eq!(whole.addresses(Some("http://localhost")), Err(BadSource::Endpoint));
    }
}
