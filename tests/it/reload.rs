//! The configuration read again while the daemon runs: streams come, go and change, and the others notice nothing.

use serde_json::Value;

use crate::support::{
    audit::audit,
    process::{Daemon, get},
    scene::Scene,
    until,
    weights::TinyVit,
};

/// A daemon whose configuration changes while it runs.
pub struct Edge {
    pub home: tempfile::TempDir,
    pub daemon: Daemon,
    pub admin: std::net::SocketAddr,
}

impl Edge {
    /// A daemon with `streams`, beside `runtime` keys.
    pub fn new(runtime: &str, streams: &str) -> Self {
        Self::with(runtime, |_| streams.to_owned())
    }

    /// A daemon with streams that need files in its folder.
    pub fn with(runtime: &str, streams: impl FnOnce(&std::path::Path) -> String) -> Self {
        let home = tempfile::tempdir().unwrap();
        let weights = home.path().join("tiny.safetensors");
        TinyVit::default().write(&weights, 7);
        let streams = streams(home.path());
        let config = format!("[runtime]\nstatus_seconds = 0.2\n{runtime}\n{streams}");
        let mut daemon = Daemon::start(home.path(), &weights, &config, &[]);
        let admin = daemon.admin();
        Self { home, daemon, admin }
    }

    pub fn ready(&self) -> Value {
        serde_json::from_str(&get(self.admin, "/readyz").1).unwrap()
    }

    /// Frames of `stream` published so far; every account is audited on the way.
    fn published(&self, stream: &str) -> Option<u64> {
        audit(&get(self.admin, "/metrics").1).get(stream).map(|account| account.published)
    }

    /// Waits until `stream` has published `more` frames from now on.
    pub fn flows(&self, stream: &str, more: u64) {
        let before = self.published(stream).unwrap_or(0);
        until(&format!("{more} more frames of {stream}"), || (self.published(stream)? >= before + more).then_some(()));
    }

    /// Replaces the streams of the file, whole.
    pub fn rewrite(&self, streams: &str) {
        let path = self.home.path().join("maskd.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let head = &text[..text.find("[streams").unwrap()];
        let next = self.home.path().join("next.toml");
        std::fs::write(&next, format!("{head}{streams}")).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    pub fn log_lines(&self, words: &str) -> usize {
        self.daemon.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Asks for the configuration to be read, and waits until that is done or refused.
    pub fn hang_up(&self, outcome: &str) {
        let before = self.log_lines(outcome);
        self.daemon.signal("HUP");
        until(outcome, || (self.log_lines(outcome) > before).then_some(()));
    }

    pub fn stop(mut self) {
        self.daemon.signal("TERM");
        assert!(self.daemon.wait().success(), "{}", self.daemon.log());
        assert!(!self.daemon.log().contains("This is a bug"), "{}", self.daemon.log());
    }
}

const READ: &str = "the configuration was read again";
pub const REFUSED: &str = "the configuration is refused, the old one goes on";

fn test_streams(names: &[&str]) -> String {
    names.iter().map(|name| format!("[streams.{name}]\nkind = 'test'\n")).collect()
}

#[test]
fn streams_come_and_go_and_the_others_notice_nothing() {
    let it = Edge::new("reload_on_change = false", &test_streams(&["a", "b"]));
    it.flows("a", 3);
    it.flows("b", 3);
    it.rewrite(&test_streams(&["a", "c"]));
    it.hang_up(READ);
    it.flows("c", 3);
    // The accounts of a stream that was removed are closed, then nothing of it is left.
    until("the end of b", || it.published("b").is_none().then_some(()));
    let ready = it.ready();
    assert!(ready["streams"].get("b").is_none() && ready["streams"]["c"]["up"] == true, "{ready}");
    assert!(it.log_lines("stream done") == 1, "{}", it.daemon.log());
    let metrics = get(it.admin, "/metrics").1;
    assert!(!metrics.contains("stream=\"b\""), "{metrics}");

    // And back, at once: a name that was used before starts with new accounts.
    it.rewrite(&test_streams(&["a", "b"]));
    it.hang_up(READ);
    it.flows("b", 3);
    it.flows("a", 3);
    let ready = it.ready();
    assert_eq!(ready["streams"]["a"]["epoch"], 0, "{ready}");
    assert_eq!(it.log_lines("\"stream\":\"a\""), 1, "it came up, and no more is to be said:\n{}", it.daemon.log());
    it.stop();
}

#[test]
fn a_changed_stream_runs_on_in_a_new_epoch_and_a_bad_file_changes_nothing() {
    let it = Edge::new("reload_on_change = false", &test_streams(&["a", "b"]));
    it.flows("a", 3);
    for bad in [
        "[streams.a]\nkind = 'test'\nwieght = 2\n",
        "[streams.a]\nkind = 'pipeline'\npipeline = 'nosuchelement ! fakesink'\n[streams.new]\nkind = 'test'\n",
        "[streams.a]\nkind = 'test'\nfirst_mask = 'nowhere.png'\n",
        "no table",
    ] {
        it.rewrite(&format!("[streams]\n{bad}").replace("[streams]\n[", "["));
        it.hang_up(REFUSED);
    }
    it.flows("a", 3);
    it.flows("b", 3);
    assert_eq!(it.ready()["streams"].as_object().unwrap().len(), 2);

    let film = it.home.path().join("film.mp4");
    Scene { size: maskd::frame::Size::new(160, 120), frames: 20, fps: 10 }.write_video(&film);
    let before = it.published("a").unwrap();
    let film = format!("[streams.a]\nkind = 'file'\nlocation = '{}'\nloop = true\nweight = 2\n", film.display());
    it.rewrite(&format!("{film}{}", test_streams(&["b"])));
    it.hang_up(READ);
    it.flows("a", 3);
    assert!(it.published("a").unwrap() >= before + 3, "the accounts are continued");
    let ready = it.ready();
    assert!(ready["streams"]["a"]["epoch"].as_u64().unwrap() >= 1, "{ready}");
    assert_eq!(ready["streams"]["b"]["epoch"], 0, "{ready}");

    // Another weight is no reason to build a pipeline anew.
    let ups = it.log_lines("stream up");
    it.rewrite(&format!("{film}{}weight = 5\n", test_streams(&["b"])));
    it.hang_up(READ);
    it.flows("b", 3);
    assert_eq!(it.ready()["streams"]["b"]["epoch"], 0);
    assert!(it.daemon.log().contains("weighed"), "{}", it.daemon.log());
    assert_eq!(it.log_lines("\"stream\":\"b\""), 1, "{ups} ups before:\n{}", it.daemon.log());
    it.stop();
}

#[test]
fn a_file_that_changes_is_read_without_being_asked() {
    let it = Edge::new("", &test_streams(&["a"]));
    it.flows("a", 3);
    it.rewrite(&test_streams(&["a", "b"]));
    it.flows("b", 3);
    // A section that is not live is named, and waits.
    let path = it.home.path().join("maskd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}[tracker]\ndiscovery = false\n")).unwrap();
    until("a word on [tracker]", || it.daemon.log().contains("not before a restart: [tracker]").then_some(()));
    it.stop();
}
