//! The shipped zenoh files at work: TLS with certificates on both sides, and nothing granted that is not written down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use maskd::{
    frame::StreamId,
    instance::Prompt,
    publish::{
        Answer, Reader, Reloading, ask, reload,
        wire::{MAX_PROMPT_BYTES, Reloaded},
    },
};
use tokio::time::timeout;
use zenoh::handlers::RingChannel;

use crate::{
    publish::{WITHIN, eventually, get, masks, until},
    support::{
        process::{Daemon, counter, free_port, get as http_get, maskd},
        weights::TinyVit,
    },
};

const RELOAD: &str = "maskd/v1/yard/control/reload";
const PROMPT: &str = "maskd/v1/yard/pic/prompt";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)
}

/// An authority of its own in `folder`, through the shipped recipe.
struct Authority(PathBuf);

impl Authority {
    fn certify(&self, role: &str, name: &str, hosts: &[&str]) {
        let mut recipe = Command::new("bash");
        recipe.arg(shipped("certificates.sh")).arg(&self.0).args([role, name]).args(hosts);
        let output = recipe.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The shipped file for readers, for `name` of this authority who believes in `trusted`.
    fn reader_file(&self, name: &str, trusted: &Self) -> PathBuf {
        let text = std::fs::read_to_string(shipped("zenoh-reader.json5")).unwrap();
        let text = text
            .replace("/etc/maskd/tls/ca.pem", trusted.0.join("ca.pem").to_str().unwrap())
            .replace("/etc/maskd/tls/wall-screen", self.0.join(name).to_str().unwrap());
        assert!(!text.contains("/etc/"), "{text}");
        let path = self.0.join(format!("{name}.json5"));
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A daemon with one stream that listens as the shipped file says, but on loopback.
struct Yard {
    home: tempfile::TempDir,
    daemon: Daemon,
    at: Vec<String>,
    authority: Authority,
}

impl Yard {
    fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let weights = home.path().join("tiny.safetensors");
        TinyVit::default().write(&weights, 7);
        let authority = Authority(home.path().join("ca"));
        authority.certify("daemon", "maskd", &["127.0.0.1", "box.lan"]);
        let endpoint = format!("tls/127.0.0.1:{}", free_port());
        let text = std::fs::read_to_string(shipped("zenoh-daemon.json5")).unwrap();
        let text = text
            .replace("/run/credentials/maskd.service/zenoh-key.pem", authority.0.join("maskd.key").to_str().unwrap())
            .replace("/etc/maskd/tls", authority.0.to_str().unwrap())
            .replace("\"tls/0.0.0.0:7447\"", &format!("\"{endpoint}\""));
        let file = home.path().join("zenoh-daemon.json5");
        std::fs::write(&file, text).unwrap();
        let config = format!(
            "short_side = 64\n[publish]\nsite = 'yard'\ncontrol = true\nzenoh_config = '{}'\n\
             [runtime]\nreload_on_change = false\n[streams.pic]\nkind = 'test'\n",
            file.display()
        );
        let mut daemon = Daemon::start_on(endpoint.clone(), home.path(), &weights, &config, &[]);
        daemon.wait_for_log("stream up");
        Self { home, daemon, at: vec![endpoint], authority }
    }

    /// The shipped file for a reader called `name`, certified by this daemon's authority.
    fn reader(&self, name: &str) -> PathBuf {
        self.authority.certify("reader", name, &[]);
        self.authority.reader_file(name, &self.authority)
    }

    /// How many prompts had this `outcome`, from `/metrics`.
    fn prompts(&mut self, outcome: &str) -> u64 {
        let (_, metrics) = http_get(self.daemon.admin(), "/metrics");
        counter(&metrics, "maskd_prompts", &[&format!("cause=\"{outcome}\"")])
    }
}

fn pic() -> StreamId {
    "pic".parse().unwrap()
}

/// A session that says at once where it cannot connect: nothing is tried twice.
async fn connect(at: &str, file: Option<&Path>) -> zenoh::Result<zenoh::Session> {
    let mut config = match file {
        Some(path) => zenoh::Config::from_json5(&std::fs::read_to_string(path)?)?,
        None => zenoh::Config::default(),
    };
    for (key, value) in [
        ("mode", "\"client\"".to_owned()),
        ("listen/endpoints", "[]".to_owned()),
        ("connect/endpoints", serde_json::to_string(&[at])?),
        ("connect/timeout_ms", "0".to_owned()),
        ("connect/exit_on_failure", "true".to_owned()),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value)?;
    }
    timeout(WITHIN, zenoh::open(config)).await.expect("neither connected nor refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_can_neither_read_nor_prompt() {
    let yard = Yard::open();
    let tls = yard.at[0].as_str();
    let viewer = yard.reader("wall-screen");
    let text = std::fs::read_to_string(&viewer).unwrap();

    // Another authority's certificate, for a name that may do everything here.
    let other = Authority(yard.home.path().join("other-ca"));
    other.certify("reader", "operator", &[]);
    let foreign = other.reader_file("operator", &yard.authority);
    // No certificate at all.
    let bare = yard.home.path().join("bare.json5");
    std::fs::write(&bare, text.replace("enable_mtls: true", "enable_mtls: false")).unwrap();
    // No TLS at all.
    let plain = tls.replace("tls/", "tcp/");
    // The authority's own certificate.
    let posing = yard.home.path().join("posing.json5");
    std::fs::write(&posing, text.replace("wall-screen.pem", "ca.pem").replace("wall-screen.key", "ca.key")).unwrap();

    for (who, at, file) in [
        ("a stranger without certificate", tls, Some(bare.as_path())),
        ("another authority's operator", tls, Some(&foreign)),
        ("somebody without TLS", &plain, None),
        ("the authority itself, which is nobody's name", tls, Some(&posing)),
    ] {
        match connect(at, file).await {
            Err(_) => {}
            Ok(session) if who.starts_with("the authority") => {
                // It can sign whom it likes, but access control does not know it.
                assert!(get_nothing(&session, "maskd/v1/yard/pic/masks").await, "{who}");
                session.close().await.unwrap();
            }
            Ok(_) => panic!("{who} was let in"),
        }
    }
    // A daemon of another authority is not talked to.
    let elsewhere = other.reader_file("operator", &other);
    assert!(connect(tls, Some(&elsewhere)).await.is_err(), "a reader believed another authority's daemon");
    // Nor where it goes by a name that its certificate does not hold.
    let named = tls.replace("127.0.0.1", "localhost");
    assert!(connect(&named, Some(&viewer)).await.is_err(), "the daemon's name was not looked at");
    let trusting = yard.home.path().join("trusting.json5");
    std::fs::write(&trusting, text.replace("verify_name_on_connect: true", "verify_name_on_connect: false")).unwrap();
    connect(&named, Some(&trusting)).await.unwrap().close().await.unwrap();

    // The same way in works for who is known.
    connect(tls, Some(&viewer)).await.unwrap().close().await.unwrap();
    let asked = ask(&yard.at, Some(&foreign), None, &pic(), &Prompt::Reset, Duration::from_secs(1)).await.unwrap();
    assert_eq!(asked, Answer::Nobody);
}

/// Whether a query is answered by nobody.
async fn get_nothing(session: &zenoh::Session, key: &str) -> bool {
    let replies = session.get(key).timeout(Duration::from_secs(1)).await.unwrap();
    timeout(WITHIN, replies.recv_async()).await.expect("the query does not end").is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_watch_operators_prompt_and_guests_do_neither() {
    let mut yard = Yard::open();
    let (viewer, operator, guest) = (yard.reader("wall-screen"), yard.reader("operator"), yard.reader("guest"));

    // Certified, but not named in the access control: asks for what a viewer gets.
    let session = connect(&yard.at[0], Some(&guest)).await.unwrap();
    let overheard = session.declare_subscriber("maskd/v1/*/*/masks").with(RingChannel::new(1)).await.unwrap();
    session.put(PROMPT, r#"{"kind":"reset"}"#).await.unwrap();
    for key in ["maskd/v1/yard/pic/masks", "maskd/v1/yard/pic/status", "maskd/v1/yard/config", RELOAD, PROMPT] {
        assert!(get_nothing(&session, key).await, "a guest was answered on {key}");
    }

    // A viewer sees everything there is to see.
    let reader = Reader::open(&yard.at, Some(&viewer), None, None).await.unwrap();
    let (mut seen, mut status, mut event, mut alive) = (0, false, false, 0);
    until(&reader, |received| {
        use maskd::publish::Received::*;
        match received {
            Status(_) => status = true,
            Event(_) => event = true,
            Alive { .. } => alive += 1,
            other => seen += usize::from(masks(other).is_some()),
        }
        (seen >= 10 && status && event && alive >= 2).then_some(())
    })
    .await;
    assert!(overheard.try_recv().unwrap().is_none(), "a guest saw masks");
    reader.close().await;

    // A viewer's prompt is not heard, asked politely or just sent.
    let asked = ask(&yard.at, Some(&viewer), None, &pic(), &Prompt::Reset, Duration::from_secs(5)).await.unwrap();
    assert_eq!(asked, Answer::Unheard);
    let (file, at) = (viewer.to_str().unwrap(), yard.at[0].as_str());
    let command = maskd(&["prompt", "pic", "--reset", "--connect", at, "--zenoh-config", file, "--timeout", "5"]);
    let text = String::from_utf8(command.stderr).unwrap();
    assert!(command.status.code() == Some(69) && text.contains("does not grant you prompts"), "{text}");
    let session_of_viewer = connect(&yard.at[0], Some(&viewer)).await.unwrap();
    session_of_viewer.put(PROMPT, r#"{"kind":"reset"}"#).await.unwrap();
    session_of_viewer.put("maskd/v1/yard/*/prompt", r#"{"kind":"reset"}"#).await.unwrap();
    assert!(get_nothing(&session_of_viewer, "maskd/v1/yard/config").await, "a viewer read the configuration");
    assert!(get_nothing(&session_of_viewer, RELOAD).await, "a viewer had the configuration read");
    let yard_site = "yard".parse().unwrap();
    let asked = reload(&yard.at, Some(&viewer), &yard_site, Duration::from_secs(5)).await.unwrap();
    assert_eq!(asked, Reloading::Unheard);
    // Answered after the puts were looked at: messages of one session arrive in order.
    get(&session_of_viewer, "maskd/v1/yard/pic/masks", None).await.unwrap();
    assert_eq!((yard.prompts("accepted"), yard.prompts("refused")), (0, 0));

    // An operator's is taken, and what is no prompt is told so.
    let asked = ask(&yard.at, Some(&operator), None, &pic(), &Prompt::Reset, WITHIN).await.unwrap();
    assert_eq!(asked, Answer::Accepted);
    let session_of_operator = connect(&yard.at[0], Some(&operator)).await.unwrap();
    let error = get(&session_of_operator, PROMPT, Some(b"dance")).await.unwrap_err();
    assert!(error.starts_with("prompt refused: not a prompt"), "{error}");
    let file = yard.home.path().join("maskd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!yard.daemon.log().contains("somebody asked over zenoh"));
    let asked = reload(&yard.at, Some(&operator), &yard_site, WITHIN).await.unwrap();
    assert_eq!(asked, Reloading::Done(Reloaded::default()));
    std::fs::write(&file, "[streams.pic]\nkind = 'tset'\n").unwrap();
    let asked = reload(&yard.at, Some(&operator), &yard_site, WITHIN).await.unwrap();
    assert!(
        matches!(&asked, Reloading::Refused(why) if why.contains("maskd.toml:2") && why.contains("tset")),
        "{asked:?}"
    );
    std::fs::write(&file, text + "weight = 2\n").unwrap();
    let operator_file = operator.to_str().unwrap();
    let command = maskd(&["reload", "--site", "yard", "--connect", &yard.at[0], "--zenoh-config", operator_file]);
    let told = String::from_utf8(command.stdout).unwrap();
    assert!(command.status.success() && told.contains("\"weighed\":[\"pic\"]"), "{told}");
    // A query for everything does nothing.
    let before = yard.daemon.log();
    assert!(get_nothing(&session_of_operator, "maskd/v1/yard/control/*").await);
    assert_eq!(before.matches("somebody asked").count(), yard.daemon.log().matches("somebody asked").count());
    let huge = vec![b' '; MAX_PROMPT_BYTES + 1];
    let error = get(&session_of_operator, PROMPT, Some(&huge)).await.unwrap_err();
    assert!(error.contains("more than the 262144 allowed"), "{error}");
    let config = get(&session_of_operator, "maskd/v1/yard/config", None).await.unwrap();
    assert!(String::from_utf8(config).unwrap().contains("site = \"yard\""));
    session_of_operator.put(PROMPT, r#"{"kind":"reset"}"#).await.unwrap();
    let admin = yard.daemon.admin();
    let accepted = || counter(&http_get(admin, "/metrics").1, "maskd_prompts", &["cause=\"accepted\""]);
    eventually(|| accepted() == 2).await;

    assert!(overheard.try_recv().unwrap().is_none(), "a guest saw masks");
    for session in [session, session_of_viewer, session_of_operator] {
        session.close().await.unwrap();
    }
    // Nobody was warned of an open door: there is none. And the key stays a secret.
    let log = yard.daemon.log();
    assert!(!log.contains("anybody there can watch") && !log.contains("PRIVATE KEY"), "{log}");
}

#[test]
fn an_unencrypted_endpoint_does_not_open_beside_the_shipped_file() {
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let config = format!(
        "short_side = 64\n[publish]\nlisten = ['tcp/127.0.0.1:0']\nzenoh_config = '{}'\n[streams.pic]\nkind = 'test'\n",
        shipped("zenoh-daemon.json5").display()
    );
    let mut daemon = Daemon::start_on(String::new(), home.path(), &weights, &config, &[]);
    assert_eq!(daemon.wait().code(), Some(69), "{}", daemon.log());
    daemon.wait_for_log("publish: cannot open zenoh");
}
