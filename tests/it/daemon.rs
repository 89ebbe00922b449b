//! The daemon as its operator meets it: exit codes, probes, signals, the service manager, and books that balance.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use maskd::{frame::Size, mask::LabelMap};
use serde_json::Value;

use crate::support::{
    audit::{Statuses, audit},
    notify::Manager,
    process::{Daemon, counter, free_port, get, maskd},
    scene::Scene,
    until,
    weights::TinyVit,
};

/// A folder with a tiny network in it.
fn home() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    (folder, weights)
}

fn film(folder: &Path, frames: u64) -> PathBuf {
    let path = folder.join("film.mp4");
    Scene { size: Size::new(160, 120), frames, fps: 10 }.write_video(&path);
    path
}

/// Runs `maskd` with `args`: it must end with `code` and a single line that holds every word.
fn fails(args: &[&str], code: i32, words: &[&str]) {
    let output = maskd(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("maskd: error: ")).collect();
    assert_eq!(errors.len(), 1, "{args:?}: {text}");
    assert!(words.iter().all(|word| errors[0].contains(word)), "{args:?}: {} lacks one of {words:?}", errors[0]);
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn help_teaches() {
    let text = |args: &[&str]| String::from_utf8(maskd(args).stdout).unwrap();
    let top = text(&["--help"]);
    for word in
        ["Exit codes:", "64", "MASKD_LOG", "maskd run test", "run", "check", "segment", "watch", "prompt", "weights"]
    {
        assert!(top.contains(word), "{word} in {top}");
    }
    for command in ["run", "check", "segment", "watch", "prompt", "reload", "weights"] {
        let help = text(&[command, "--help"]);
        assert!(help.contains("Examples:\n"), "{command}: {help}");
    }
    assert!(text(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_fault_has_its_exit_code_and_its_line() {
    let (home, weights) = home();
    let (home, weights) = (home.path(), weights.to_str().unwrap());
    let write = |name: &str, bytes: &[u8]| {
        let path = home.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    assert_eq!(maskd(&["run"]).status.code(), Some(2));
    assert_eq!(maskd(&["fly"]).status.code(), Some(2));

    let unknown = write("unknown.toml", b"[runtime]\nmax_bach = 3\n[streams.a]\nkind = 'test'\n");
    fails(&["check", "--config", &unknown], 64, &["unknown.toml:2", "max_bach", "did you mean `max_batch`?"]);
    fails(&["run", "--config", &unknown], 64, &["unknown.toml:2", "max_bach"]);
    fails(&["run", "--config", &format!("{unknown}.not")], 74, &["unknown.toml.not"]);
    let element = write("element.toml", b"[streams.a]\npipeline = 'PIPE'\n");
    let pipe = write("my.launch", b"# mine\nvideotestsrc name=source ! magicscale ! appsink name=frames\n");
    let element = write("element.toml", std::fs::read_to_string(element).unwrap().replace("PIPE", &pipe).as_bytes());
    fails(&["check", "-c", &element, "-w", weights], 64, &["streams.a", "my.launch", "magicscale"]);
    fails(&["run", "-c", &element, "-w", weights], 64, &["streams.a", "my.launch", "magicscale"]);

    let good = std::fs::read(weights).unwrap();
    let cut = write("cut.safetensors", &good[..good.len() / 2]);
    fails(&["run", "test", "--weights", &cut], 65, &["cut.safetensors"]);
    let text = write("text.pth", b"not weights");
    fails(&["run", "test", "--weights", &text], 65, &["text.pth"]);
    fails(&["run", "test", "--weights", "/nowhere/w.pth"], 74, &["/nowhere/w.pth"]);
    fails(&["run", "test", "--weights", weights, "--first-mask", &text], 65, &["--first-mask: ", "text.pth"]);
    fails(&["run", "test", "--weights", weights, "--first-mask", "/nowhere/m.png"], 74, &["/nowhere/m.png"]);

    let stream = "[streams.a]\nkind = 'test'\n";
    let range = write("range.toml", format!("[tracker.propagate]\ncontext = 1000000000\n{stream}").as_bytes());
    fails(&["check", "-c", &range, "-w", weights], 64, &["range.toml:2", "tracker.propagate.context", "0 to 64"]);
    let level = write("level.toml", format!("[log]\nlevel = 'a=b=c'\n{stream}").as_bytes());
    fails(&["check", "-c", &level, "-w", weights], 64, &["log.level", "a=b=c"]);
    let tls = |path: &str| format!("[admin]\nlisten = 'off'\n[publish]\nzenoh_config = '{path}'\n{stream}");
    let odd = write("odd.json5", b"{ lisen: 1 ");
    for (named, code) in [(odd.as_str(), 64), ("/nowhere/z.json5", 74)] {
        let file = write("tls.toml", tls(named).as_bytes());
        fails(&["check", "-c", &file, "-w", weights], code, &["zenoh_config", named]);
        fails(&["run", "-c", &file, "-w", weights], code, &["zenoh_config", named]);
    }

    let half = write("half.toml", b"[model]\ndevice = 'cpu'\nprecision = 'f16'\n[streams.a]\nkind = 'test'\n");
    fails(&["check", "-c", &half, "-w", weights], 64, &["half.toml:3: model.precision: \"f16\"", "needs a GPU"]);

    fails(&["run", "/nowhere/film.mp4", "--weights", weights], 74, &["/nowhere/film.mp4", "rtsp://"]);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = |admin: &str, zenoh: &str| {
        format!("[admin]\nlisten = '{admin}'\n[publish]\nlisten = ['tcp/{zenoh}']\n[streams.a]\nkind = 'test'\n")
    };
    let admin = write("admin.toml", config(&address.to_string(), "127.0.0.1:0").as_bytes());
    fails(&["run", "-c", &admin, "-w", weights], 69, &["admin.listen", &address.to_string()]);
    let zenoh = write("zenoh.toml", config("off", &address.to_string()).as_bytes());
    fails(&["run", "-c", &zenoh, "-w", weights], 69, &["zenoh", &address.to_string()]);
}

#[test]
fn check_prints_the_resolved_configuration_without_passwords() {
    let (home, weights) = home();
    let path = home.path().join("c.toml");
    std::fs::write(&path, "[streams.gate]\nkind = 'rtsp'\nlocation = 'rtsp://viewer:s3cret@cam.lan/1'\n").unwrap();
    let output = maskd(&["check", "-c", path.to_str().unwrap(), "-w", weights.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("rtsp://***@cam.lan/1") && text.contains("max_batch = 4"), "{text}");
    assert!(text.contains("temperature = 0.05\n"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

/// What each stream's last log line says: captured, published, dropped.
fn books(events: &[Value], stream: &str) -> (u64, u64, u64) {
    let done = |e: &&Value| e["message"] == "stream done" && e["stream"] == stream;
    let line = events.iter().find(done).unwrap_or_else(|| panic!("no summary of {stream} in {events:#?}"));
    let n = |key: &str| line[key].as_u64().unwrap();
    (n("captured"), n("published"), n("dropped"))
}

#[test]
fn a_file_runs_to_its_end_and_the_books_balance() {
    let (home, weights) = home();
    let film = film(home.path(), 40);
    let film = film.display();
    let config = format!(
        "[streams.fast]\nkind = 'file'\nlocation = '{film}'\npace = 'fast'\n\
         [streams.paced]\nkind = 'file'\nlocation = '{film}'\n"
    );
    let mut daemon = Daemon::start(home.path(), &weights, &config, &[]);
    assert!(daemon.wait().success(), "{}", daemon.log());
    let events = daemon.events();
    for stream in ["fast", "paced"] {
        let (captured, published, dropped) = books(&events, stream);
        assert_eq!(captured, 40, "{stream}");
        assert_eq!(captured, published + dropped, "{stream}");
        assert!(published > 0, "{stream}");
    }
    assert!(!daemon.log().contains("This is a bug"), "{}", daemon.log());
}

#[test]
fn a_test_picture_is_ready_is_counted_and_drains_when_asked() {
    let (home, weights) = home();
    let manager = Manager::new(home.path());
    let hear = |word: &str| manager.hear(word, |line| line == word);
    let config = "[runtime]\nstatus_seconds = 1\n[streams.pic]\nkind = 'test'\n";
    let mut daemon = Daemon::start(home.path(), &weights, config, &manager.env("2000000"));
    let admin = daemon.admin();
    assert!(hear("READY=1").contains("STATUS="));
    hear("WATCHDOG=1");

    let ready = until("readiness", || {
        let (status, body) = get(admin, "/readyz");
        (status == 200).then_some(body)
    });
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["streams"]["pic"]["up"], true, "{ready}");
    assert_eq!(ready["streams_down"], serde_json::json!([]), "{ready}");
    assert_eq!(get(admin, "/healthz").0, 200);
    manager.hear("a status with a rate", |line| {
        line.strip_prefix("STATUS=1 of 1 streams up, ")
            .is_some_and(|rest| rest.ends_with(" frames/s") && rest != "0.0 frames/s")
    });
    let metrics = until("published frames", || {
        let (_, text) = get(admin, "/metrics");
        (counter(&text, "maskd_frames_published", &["stream=\"pic\""]) >= 5).then_some(text)
    });
    assert!(metrics.ends_with("# EOF\n"));
    for stage in ["Ingest", "Preprocess", "Backbone", "Track", "Publish", "Total"] {
        let series = format!("maskd_stage_latency_seconds_count{{stage=\"{stage}\"}}");
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }
    assert!(metrics.contains("maskd_stream_up{stream=\"pic\"} 1"), "{metrics}");
    assert_eq!(get(admin, "/nothing").0, 404);

    let asked = Instant::now();
    daemon.signal("TERM");
    hear("STOPPING=1");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let (captured, published, dropped) = books(&daemon.events(), "pic");
    assert!(published >= 5 && captured == published + dropped, "{captured} {published} {dropped}");
    assert!(!daemon.log().contains("This is a bug"), "{}", daemon.log());
}

#[test]
fn at_every_moment_each_frame_is_in_one_place() {
    let (home, weights) = home();
    let film = film(home.path(), 40);
    let config = format!(
        "[runtime]\nstatus_seconds = 0.2\n[streams.pic]\nkind = 'test'\n\
         [streams.film]\nkind = 'file'\nlocation = '{}'\nloop = true\n",
        film.display()
    );
    let mut daemon = Daemon::start(home.path(), &weights, &config, &[]);
    let admin = daemon.admin();
    let statuses = Statuses::follow(&daemon.endpoint());
    // Scrapes as fast as they come; some fall between capture and publication.
    let (mut on_the_way, mut scrapes) = (0, 0);
    until("frames of both streams", || {
        let books = audit(&get(admin, "/metrics").1);
        scrapes += 1;
        on_the_way += books.values().map(|book| book.in_flight).sum::<u64>();
        let enough = |stream: &str| books.get(stream).is_some_and(|book| book.published >= 100);
        (enough("pic") && enough("film") && on_the_way > 0).then_some(())
    });
    let told = statuses.take(6);
    assert!(told.iter().all(|status| status.account.balances()), "{told:#?}");
    assert!(told.last().unwrap().account.captured > 0, "{told:#?}");
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    for stream in ["pic", "film"] {
        let (captured, published, dropped) = books(&daemon.events(), stream);
        assert!(captured == published + dropped, "{stream}: {captured} {published} {dropped}, {scrapes} scrapes");
    }
}

#[test]
fn without_grace_what_is_in_flight_is_dropped_and_counted() {
    let (home, weights) = home();
    let config = "[runtime]\ngrace_seconds = 0\n[streams.pic]\nkind = 'test'\n";
    let mut daemon = Daemon::start(home.path(), &weights, config, &[]);
    daemon.wait_for_log("stream up");
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    daemon.wait_for_log("the grace time is over");
    let (captured, published, dropped) = books(&daemon.events(), "pic");
    assert!(captured > 0 && captured == published + dropped, "{captured} {published} {dropped}");
}

#[test]
fn a_bad_camera_stops_nobody_and_no_password_is_logged() {
    let (home, weights) = home();
    let config = format!(
        "[streams.good]\nkind = 'test'\n[streams.bad]\nkind = 'rtsp'\n\
         location = 'rtsp://viewer:s3cret%2Fs3cret@127.0.0.1:{}/x?access_token=s3cret,s3cret'\n",
        free_port()
    );
    let mut daemon = Daemon::start(home.path(), &weights, &config, &[("MASKD_LOG", "debug")]);
    let admin = daemon.admin();
    daemon.wait_for_log("stream down");
    until("readiness with one stream down", || {
        let (status, body) = get(admin, "/readyz");
        let body: Value = serde_json::from_str(&body).unwrap();
        (status == 200 && body["streams_down"] == serde_json::json!(["bad"])).then_some(())
    });
    let count = || counter(&get(admin, "/metrics").1, "maskd_frames_published", &["stream=\"good\""]);
    let told = ["/readyz", "/healthz", "/metrics", "/"].map(|path| get(admin, path).1);
    assert!(told.iter().all(|body| !body.contains("s3cret")), "{told:?}");
    let before = count();
    until("more frames of the good camera", || (count() > before + 3).then_some(()));
    assert!(counter(&get(admin, "/metrics").1, "maskd_reconnects", &["stream=\"bad\""]) > 0);
    daemon.signal("INT");
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("s3cret"), "{}", daemon.log());
}

#[test]
fn a_file_that_cannot_be_played_is_bad_input() {
    let (home, weights) = home();
    let broken = home.path().join("broken.mp4");
    std::fs::write(&broken, b"this is no film").unwrap();
    let config = format!("[streams.a]\nkind = 'file'\nlocation = '{}'\n", broken.display());
    let mut daemon = Daemon::start(home.path(), &weights, &config, &[]);
    assert_eq!(daemon.wait().code(), Some(65), "{}", daemon.log());
    let last = daemon.log().lines().last().unwrap().to_owned();
    assert!(last.starts_with("maskd: error: streams.a: ") && last.contains("broken.mp4"), "{last}");

    let film = film(home.path(), 20);
    let mask = home.path().join("mask.png");
    LabelMap { size: Size::new(80, 60), labels: vec![1; 80 * 60] }.write_png(&mask).unwrap();
    let config =
        format!("[streams.a]\nkind = 'file'\nlocation = '{}'\nfirst_mask = '{}'\n", film.display(), mask.display());
    let mut daemon = Daemon::start(home.path(), &weights, &config, &[]);
    assert_eq!(daemon.wait().code(), Some(65), "{}", daemon.log());
    let last = daemon.log().lines().last().unwrap().to_owned();
    assert!(last.contains("mask.png: it is 80x60, the pictures are 160x120"), "{last}");
}
