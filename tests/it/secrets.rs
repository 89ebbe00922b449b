//! No secret that a configuration holds comes out of it again, however odd its characters and wherever it stands.

use std::{cell::RefCell, path::Path};

use maskd::{
    cancellation::CancellationToken,
    config::Config,
    frame::Resolution,
    ingest::{Camera, CameraEvent, Description, SourceConfig},
    metrics::Metrics,
    publish::PublishConfig,
    scheduling::mailbox::Mailbox,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use toml::{Table, Value};

/// What no output may hold: the middle of every generated secret, of characters that no encoding touches.
const MARKER: &str = "S3CRET";

/// The marker between odd characters.
fn secret() -> impl Strategy<Value = String> {
    let odd = || prop::collection::vec(prop_oneof![3 => prop::char::range(' ', '~'), 1 => any::<char>()], 0..5);
    (odd(), odd()).prop_map(|(before, after)| {
        let text = |chars: Vec<char>| chars.into_iter().filter(|c| *c != '\0').collect::<String>();
        format!("{}{MARKER}{}", text(before), text(after))
    })
}

/// An address with `secret` as its password, as written or percent-encoded, and as the value of a parameter.
fn addresses(scheme: &str, secret: &str) -> Vec<String> {
    let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    vec![
        format!("{scheme}://user:{secret}@127.0.0.1:1/live?x=1"),
        format!("{scheme}://user:{encoded}@127.0.0.1:1/live"),
        format!("{scheme}://127.0.0.1:1/live?x=1&access_token={encoded}&y=2"),
        format!("{scheme}://127.0.0.1:1/user=a&password={encoded}"),
    ]
}

fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn silent(what: &str, shown: &str) -> Result<(), TestCaseError> {
    prop_assert!(!shown.contains(MARKER), "{} shows it: {}", what, shown);
    Ok(())
}

/// `text` of a configuration, and everything that may be printed of it or of why it cannot be used.
fn all_is_silent(text: &str) -> Result<(), TestCaseError> {
    match Config::parse(text, "x.toml") {
        Err(error) => silent("an error", &format!("{error} {error:?}"))?,
        Ok(config) => {
            silent("redacted()", &config.redacted())?;
            silent("Debug", &format!("{config:?} {config:#?}"))?;
            for stream in config.streams.values() {
                silent("place()", &stream.source.place())?;
                if let Err(error) = Description::of(&stream.source).and_then(|d| d.check(&stream.source)) {
                    silent("a source's error", &format!("{error} {error:?}"))?;
                }
            }
        }
    }
    // The same through a file, which is also validated.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    if let Err(error) = Config::load(&path) {
        silent("an error of load", &format!("{error} {error:?}"))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_configuration_keeps_its_secrets(secret in secret()) {
        for address in addresses("rtsp", &secret) {
            let source = table([
                ("user-pw", secret.clone().into()),
                ("proxy", format!("http://u:{secret}@proxy").into()),
                ("latency", address.clone().into()),
            ]);
            let stream = table([
                ("kind", "rtsp".into()),
                ("location", address.clone().into()),
                ("properties", table([("source", source)])),
            ]);
            let endpoint = format!("tls/127.0.0.1:1#connect_private_key_base64={}", secret.replace(['&', '#'], ""));
            let publish = table([("connect", Value::Array(vec![endpoint.into()]))]);
            let whole = table([("publish", publish), ("streams", table([("gate", stream)]))]);
            // GStreamer refuses the address as a latency: that error must be silent too.
            all_is_silent(&toml::to_string(&whole).unwrap())?;
        }
    }

    #[test]
    fn an_address_in_the_wrong_place_is_not_quoted(secret in secret()) {
        for address in addresses("rtsp", &secret) {
            for key in [
                "streams.gate.kind", "streams.gate.latency_ms", "streams.gate.weight", "streams.gate.pipeline",
                "streams.gate.device", "streams.gate.nokey", "publish.site", "publish.mode", "publish.listen",
                "publish.zenoh_config", "admin.listen", "log.format", "log.level", "runtime.max_batch", "model.device",
                "model.precision", "model.heads", "model.propagation_block", "tracker.gating", "streams",
            ] {
                let mut root = Table::new();
                let mut inner = &mut root;
                let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
                for part in path.split('.').filter(|part| !part.is_empty()) {
                    let next = inner.entry(part).or_insert_with(|| Value::Table(Table::new()));
                    inner = next.as_table_mut().unwrap();
                }
                inner.insert(last.to_owned(), address.clone().into());
                all_is_silent(&toml::to_string(&root).unwrap())?;
            }
            // As a key, and as a stream's name.
            for path in ["streams", "publish"] {
                let named = Table::from_iter([(address.clone(), table([("kind", "test".into())]))]);
                all_is_silent(&toml::to_string(&Table::from_iter([(path.to_owned(), Value::Table(named))])).unwrap())?;
            }
            let publish = PublishConfig { listen: Some(vec![address.clone()]), ..PublishConfig::default() };
            silent("an endpoint's error", &publish.validate().unwrap_err().to_string())?;
        }
    }
}

/// What a camera says of its failure: a source that cannot be opened, whose element quotes the address.
fn complaint(config: SourceConfig) -> String {
    let metrics = Metrics::new();
    let mailbox = Mailbox::new(metrics.clone());
    let stream = "gate".parse().unwrap();
    let sender = mailbox.add_stream(&stream);
    let resolution = Resolution { short_side: 64, multiple: 8 };
    let camera = match Camera::new(stream, config, resolution, sender, metrics.clone()) {
        Ok(camera) => camera,
        Err(error) => return format!("{error} {error:?}"),
    };
    let said = RefCell::new(String::new());
    let stop = CancellationToken::new();
    camera.run(&stop, &mut |event| {
        if let CameraEvent::Down { .. } = event {
            *said.borrow_mut() = format!("{event:?}");
            stop.cancel();
        }
    });
    format!("{} {}", said.into_inner(), metrics.render())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_cameras_complaint_holds_no_secret(secret in secret()) {
        for address in addresses("rtsp", &secret) {
            let said = complaint(SourceConfig::file(address.clone(), maskd::ingest::Pace::Fast));
            silent("a file's fault", &said)?;
            prop_assert!(said.contains("Down") && said.contains("127.0.0.1"), "{}", said);
        }
        // As written, the secret could make another host of it, which nobody may be asked for.
        let address = addresses("rtsp", &secret).swap_remove(1 + secret.len() % 3);
        silent("an RTSP camera's fault", &complaint(SourceConfig::rtsp(address)))?;
    }

    #[test]
    fn a_pipeline_of_ones_own_keeps_its_secrets(secret in "[a-zA-Z0-9%+=/.,:-]{0,5}S3CRET[a-zA-Z0-9%+=/.,:-]{0,5}") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.launch");
        let own = |text: String| {
            std::fs::write(&path, text).unwrap();
            SourceConfig { pipeline: Some(path.clone()), ..SourceConfig::default() }
        };
        let rest = "! decodebin ! videoconvert ! appsink name=frames";
        for address in addresses("rtsp", &secret) {
            silent("its fault", &complaint(own(format!("filesrc name=source location=\"{address}\" {rest}"))))?;
        }
        // Refused before it runs: the parser quotes what it does not know.
        for bad in [
            format!("rtspsrc name=source user-pw=\"{secret}\" latency=\"{secret}\" {rest}"),
            format!("videotestsrc name=source token=\"{secret}\" {rest}"),
            format!("videotestsrc name=source ! user-pw=\"{secret}\" {secret} ! {rest}"),
        ] {
            silent("its error", &complaint(own(bad)))?;
        }
    }

    #[test]
    fn a_password_file_stays_unread(secret in secret()) {
        let folder = tempfile::tempdir().unwrap();
        let path: &Path = &folder.path().join("password");
        let line = secret.replace(['\n', '\r'], " ");
        std::fs::write(path, format!("{line}\nnot this")).unwrap();
        let config = SourceConfig {
            user: Some("viewer".to_owned()),
            password_file: Some(path.to_owned()),
            ..SourceConfig::rtsp("rtsp://127.0.0.1:1/live")
        };
        silent("Debug", &format!("{config:?}"))?;
        silent("its fault", &complaint(config))?;
    }
}
