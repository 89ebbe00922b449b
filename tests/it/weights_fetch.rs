//! `maskd weights` against a server on loopback: a file arrives whole and verified, or nothing of it is kept.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use clap::Parser as _;
use maskd::{cli::weights, model::fetch::FetchError};
use sha2::{Digest as _, Sha256};

use crate::shared::{SALIENCY_S14, shared};

/// Answers each path with its bytes, status line and headers included; anything else with 404.
struct Server {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(answers: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let answers: HashMap<String, Vec<u8>> = answers.iter().map(|(p, b)| ((*p).to_owned(), b.clone())).collect();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let (path, login) = request(&stream);
                log.lock().unwrap().push(format!("{path}{}", if login { " with a login" } else { "" }));
                let missing = || b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec();
                // A client that hangs up on too large a file is part of the test.
                let _ = stream.write_all(&answers.get(&path).cloned().unwrap_or_else(missing));
            }
        });
        Self { base, asked, stop, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.base.trim_start_matches("http://"));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Which path is asked for, and whether a login came with it.
fn request(stream: &TcpStream) -> (String, bool) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next().and_then(|first| first.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    let headers = lines.take_while(|line| !line.is_empty());
    (path, headers.filter(|line| line.to_ascii_lowercase().starts_with("authorization:")).count() > 0)
}

/// An answer that announces `length` bytes and sends `body`.
fn announcing(length: u64, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn whole(body: &[u8]) -> Vec<u8> {
    announcing(body.len() as u64, body)
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: weights::Args,
}

/// `maskd weights ...` with this cache.
fn maskd(cache: &Path, line: &[&str]) -> anyhow::Result<String> {
    let words = ["weights"].into_iter().chain(line.iter().copied()).chain(["--cache", cache.to_str().unwrap()]);
    weights::answer(Line::try_parse_from(words)?.args)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Fetches, which must fail and leave the cache empty.
fn refused(line: &[&str]) -> FetchError {
    let cache = tempfile::tempdir().unwrap();
    let error = maskd(cache.path(), line).expect_err("this must not be accepted");
    assert_eq!(names(cache.path()), Vec::<String>::new(), "left behind after: {error:#}");
    assert!(!format!("{error:#}").contains('\n'), "not one line: {error:#}");
    error.downcast().unwrap()
}

#[test]
fn a_file_is_fetched_once_recorded_and_checked_from_then_on() {
    let body: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let server = Server::new(&[("/w/net.safetensors", whole(&body))]);
    let url = format!("{}/w/net.safetensors", server.base);
    // The folder is made where it is missing.
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("new/weights");

    let said = maskd(&cache, &["fetch", &url]).unwrap();
    let file = cache.join("net.safetensors");
    assert_eq!(fs::read(&file).unwrap(), body);
    assert!(said.contains(&hash(&body)) && said.contains("seen for the first time"), "{said}");
    assert_eq!(names(&cache), ["net.safetensors", "net.safetensors.sha256"]);
    let record = fs::read_to_string(cache.join("net.safetensors.sha256")).unwrap();
    assert_eq!(record, format!("{}  net.safetensors\n", hash(&body)));

    let said = maskd(&cache, &["fetch", &url, "--sha256", &hash(&body).to_uppercase()]).unwrap();
    assert!(said.contains("already there"), "{said}");
    assert_eq!(server.asked().len(), 1, "the second fetch needs no network");

    let mut damaged = body.clone();
    damaged[1000] ^= 1;
    fs::write(&file, &damaged).unwrap();
    let error = format!("{:#}", maskd(&cache, &["fetch", &url]).unwrap_err());
    assert!(error.contains("--force") && error.contains(&hash(&damaged)), "{error}");
    let said = maskd(&cache, &["fetch", &url, "--force"]).unwrap();
    assert!(said.contains("as expected"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), body);
}

#[test]
fn another_file_than_the_one_on_record_does_not_replace_it() {
    let (first, second) = (b"the first weights".to_vec(), b"quite other weights".to_vec());
    let cache = tempfile::tempdir().unwrap();
    let file = cache.path().join("dino_deitsmall8_pretrain.pth");
    let path = "/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth";
    let fetch = |body: &[u8], extra: &[&str]| {
        let server = Server::new(&[(path, whole(body))]);
        let line = [&["fetch", "dino_vits8", "--force", "--endpoint", &server.base], extra].concat();
        maskd(cache.path(), &line)
    };
    fetch(&first, &[]).unwrap();

    let error = fetch(&second, &[]).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(FetchError::Hash { .. })), "{error:#}");
    assert!(format!("{error:#}").contains("dino_deitsmall8_pretrain.pth.sha256"), "{error:#}");
    assert_eq!(fs::read(&file).unwrap(), first);
    assert_eq!(names(cache.path()).len(), 2);

    // Whoever knows the new hash says so.
    fetch(&second, &["--sha256", &hash(&second)]).unwrap();
    assert_eq!(fs::read(&file).unwrap(), second);
    assert!(
        fs::read_to_string(cache.path().join("dino_deitsmall8_pretrain.pth.sha256")).unwrap().contains(&hash(&second))
    );
}

#[test]
fn what_was_not_fetched_is_not_replaced() {
    let cache = tempfile::tempdir().unwrap();
    let path = |name: &str| cache.path().join(name);
    fs::write(path("mine.pth"), "trained for weeks").unwrap();
    std::os::unix::fs::symlink("mine.pth", path("link.pth")).unwrap();
    fs::write(path("mine.pth.sha256"), "not a record").unwrap();
    fs::write(path("other.pth"), "trained for weeks").unwrap();
    // Refused before anything is asked of the network.
    let server = Server::new(&[]);
    for name in ["mine.pth", "link.pth", "other.pth"] {
        let error = format!(
            "{:#}",
            maskd(cache.path(), &["fetch", &format!("{}/{name}", server.base), "--force"]).unwrap_err()
        );
        assert!(error.contains(name) && !error.contains('\n'), "{error}");
    }
    assert!(server.asked().is_empty());
    for name in ["mine.pth", "link.pth", "other.pth"] {
        assert_eq!(fs::read(path(name)).unwrap(), b"trained for weeks", "{name}");
    }
    assert_eq!(fs::read(path("mine.pth.sha256")).unwrap(), b"not a record");
    assert_eq!(names(cache.path()).len(), 4);
}

#[test]
fn what_is_published_about_a_file_is_checked_without_being_asked() {
    let path = "/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth";
    let server = Server::new(&[(path, whole(b"not those weights"))]);
    let error = refused(&["fetch", "dinov2_vits14", "--endpoint", &server.base]);
    assert!(matches!(error, FetchError::Size { expected: 88_283_115, found: 17, .. }), "{error}");
}

#[test]
fn a_repository_gives_safetensors_or_else_the_older_file() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(&[
        ("/a/new/resolve/main/model.safetensors", whole(b"new")),
        ("/a/old/resolve/v1/pytorch_model.bin", whole(b"old")),
    ]);
    let endpoint = ["--endpoint", &server.base];
    maskd(cache.path(), &[&["fetch", "hf:a/new"][..], &endpoint].concat()).unwrap();
    maskd(cache.path(), &[&["fetch", "hf:a/old@v1"][..], &endpoint].concat()).unwrap();
    assert_eq!(fs::read(cache.path().join("a--new.safetensors")).unwrap(), b"new");
    assert_eq!(fs::read(cache.path().join("a--old--v1.pth")).unwrap(), b"old");
    let said = maskd(cache.path(), &["list"]).unwrap();
    assert!(said.contains("a--new.safetensors") && said.contains("dino_vits8"), "{said}");
    assert!(said.contains("have not been measured with maskd"), "{said}");

    let error = refused(&["fetch", "hf:a/none", "--endpoint", &server.base]);
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
}

#[test]
fn a_mirrors_login_does_not_go_where_the_mirror_sends_us() {
    let other = Server::new(&[("/there.pth", whole(b"weights"))]);
    let location = format!("Location: {}/there.pth", other.base);
    let moved = format!("HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let path = "/a/new/resolve/main/model.safetensors";
    let mirror = Server::new(&[(path, moved.into_bytes())]);
    let cache = tempfile::tempdir().unwrap();
    let endpoint = mirror.base.replace("http://", "http://me:hunter2@");
    maskd(cache.path(), &["fetch", "hf:a/new", "--endpoint", &endpoint]).unwrap();
    assert_eq!(mirror.asked(), [format!("{path} with a login")]);
    assert_eq!(other.asked(), ["/there.pth"]);
}

#[test]
fn a_bad_download_leaves_nothing_behind() {
    let body = b"0123456789".repeat(1000);
    let huge = 3 << 30;
    let no_length = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &body[..]].concat();
    let server = Server::new(&[
        ("/good.pth", whole(&body)),
        ("/short.pth", announcing(20_000, &body)),
        ("/huge.pth", announcing(huge, &body)),
        ("/unannounced.pth", no_length),
        ("/broken.pth", b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()),
        ("/nonsense.pth", b"SSH-2.0-server\r\n".to_vec()),
    ]);
    let at = |file: &str| format!("{}/{file}", server.base);

    let other = hash(b"something else");
    let error = refused(&["fetch", &at("good.pth"), "--sha256", &other]);
    assert!(matches!(&error, FetchError::Hash { found, .. } if *found == hash(&body)), "{error}");
    let error = refused(&["fetch", &at("good.pth"), "--size", "9999"]);
    assert!(matches!(error, FetchError::Size { found: 10_000, expected: 9999, .. }), "{error}");
    let error = refused(&["fetch", &at("unannounced.pth"), "--size", "9999"]);
    assert!(matches!(error, FetchError::Size { expected: 9999, .. }), "{error}");
    let error = refused(&["fetch", &at("unannounced.pth"), "--size", "10001"]);
    assert!(matches!(error, FetchError::Size { found: 10_000, expected: 10_001, .. }), "{error}");
    let error = refused(&["fetch", &at("short.pth")]);
    assert!(matches!(error, FetchError::Broken { received: 10_000, .. }), "{error}");
    let error = refused(&["fetch", &at("huge.pth")]);
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
    let error = refused(&["fetch", &at("huge.pth"), "--size", &huge.to_string()]);
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
    let error = refused(&["fetch", &at("absent.pth?token=secret")]);
    assert!(matches!(error, FetchError::NotFound { .. }) && !error.to_string().contains("secret"), "{error}");
    let error = refused(&["fetch", &at("broken.pth")]);
    assert!(matches!(error, FetchError::Status { status: 500, .. }), "{error}");
    let error = refused(&["fetch", &at("nonsense.pth")]);
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
    let error = refused(&["fetch", "http://files.example/x.pth"]);
    assert!(matches!(error, FetchError::Address { .. }), "{error}");
}

#[test]
fn offline_one_line_says_what_to_do() {
    let port = crate::support::process::free_port();
    let error = refused(&["fetch", "dino_vits16", "--endpoint", &format!("http://127.0.0.1:{port}")]).to_string();
    let file = "dino_deitsmall16_pretrain";
    assert!(error.starts_with(&format!("cannot reach 127.0.0.1:{port}: ")), "{error}");
    assert!(error.contains(&format!("fetch http://127.0.0.1:{port}/dino/{file}/{file}.pth, copy it to /")), "{error}");
}

#[test]
fn an_interrupted_fetch_leaves_nothing_behind() {
    let cache = tempfile::tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x.pth", listener.local_addr().unwrap());
        let mut child = Command::new(env!("CARGO_BIN_EXE_maskd"))
            .args(["weights", "fetch", &url, "--cache", cache.path().to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Half a file, and then nothing more.
        let (mut stream, _) = listener.accept().unwrap();
        request(&stream);
        stream.write_all(&announcing(200_000, &[7; 100_000])).unwrap();
        let begun = || fs::read_dir(cache.path()).unwrap().any(|e| e.unwrap().metadata().is_ok_and(|m| m.len() > 0));
        until(begun, "the download begins");

        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        until(|| child.try_wait().unwrap().is_some(), "maskd ends");
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code().is_some_and(|code| code != 0), "{signal}: {}: {said}", output.status);
        assert!(said.contains("interrupted") && said.trim().lines().count() == 1, "{said}");
        assert_eq!(names(cache.path()), Vec::<String>::new());
    }
}

/// Waits for a condition, for half a minute at most.
fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn info_tells_what_a_file_holds_and_when_it_is_not_the_one_on_record() {
    let Some(weights) = shared(SALIENCY_S14) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    fs::copy(&weights, &file).unwrap();
    let info = || weights::answer(Line::try_parse_from(["weights", "info", file.to_str().unwrap()]).unwrap().args);
    let said = info().unwrap();
    // Of DINOv2's form, and not taken for what was published.
    for expected in
        ["DINOv2's", "not under a SHA-256", "14 x 14 pixels", "22056192", "37 x 37 patches", "F16", "not on record"]
    {
        assert!(said.contains(expected), "no {expected:?} in {said}");
    }
    fs::write(folder.path().join("w.safetensors.sha256"), format!("{}  w.safetensors\n", hash(b"other"))).unwrap();
    assert!(info().unwrap_err().to_string().contains("has SHA-256"));
}
