//! Cameras that send us elsewhere: we go, a few times, but the login stays where it belongs.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use maskd::ingest::{Cause, SourceConfig};

use crate::{
    cameras::doorkeeper,
    support::{
        PATIENCE,
        rtsp::{Mount, RtspServer},
        scene::Scene,
        script::{Request, Script},
        site::Site,
        until,
    },
};

const BASIC: &str = "Basic realm=\"door\"";
const DIGEST: &str = "Digest realm=\"door\", nonce=\"abc\"";

/// me:hunter2
const ME: &str = "Basic bWU6aHVudGVyMg==";

/// The login in the stream's own keys.
fn by_keys(folder: &Path, url: &str) -> SourceConfig {
    let password_file = folder.join("password");
    std::fs::write(&password_file, "hunter2\n").unwrap();
    SourceConfig { user: Some("me".to_owned()), password_file: Some(password_file), ..SourceConfig::rtsp(url) }
}

/// The login in the address.
fn by_address(url: &str) -> SourceConfig {
    SourceConfig::rtsp(url.replace("rtsp://", "rtsp://me:hunter2@"))
}

/// A description of the user's own.
fn described(folder: &Path, source: &str) -> SourceConfig {
    let path = folder.join("mine.launch");
    std::fs::write(&path, format!("{source} ! videoconvert ! appsink name=frames")).unwrap();
    SourceConfig { pipeline: Some(path), ..SourceConfig::default() }
}

/// The camera at `url` with the login me:hunter2, in every way that one can be given.
fn with_a_login(folder: &Path, url: &str) -> Vec<SourceConfig> {
    let rest = "application/x-rtp,media=video ! decodebin";
    let own = |name: &str, source: &str| {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        described(&folder, source)
    };
    let inside = url.replace("rtsp://", "rtsp://me:hunter2@");
    vec![
        by_keys(folder, url),
        by_address(url),
        own("properties", &format!("rtspsrc name=source location={url} user-id=me user-pw=hunter2 ! {rest}")),
        own("address", &format!("rtspsrc name=source location={inside} ! {rest}")),
        own("nested", &format!("uridecodebin name=source uri={inside}")),
    ]
}

/// A camera that asks for a login first and then sends whoever asks it `at` to `url`.
fn sends_on(at: &'static str, challenge: &'static str, url: String) -> Script {
    Script::at("127.0.0.1:0", move |request| match &request.login {
        None => request.login_please(challenge),
        Some(_) if request.kind == at => request.moved(&url),
        Some(_) => request.camera(),
    })
}

/// A camera that asks for a login.
fn asks(address: &str, challenge: &'static str) -> Script {
    Script::at(address, move |request| match &request.login {
        None => request.login_please(challenge),
        Some(_) => request.camera(),
    })
}

fn logins(script: &Script) -> Vec<Request> {
    script.heard().into_iter().filter(|request| request.login.is_some()).collect()
}

/// A camera that was sent from `home` to `other` has told its login to the first and not to the second, and says why it does
/// not play.
fn assert_faithful(config: SourceConfig, home: &Script, other: &Script) {
    let name = format!("{config:?}");
    let site = Site::new();
    let camera = site.start("a", config);
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Refused, "{name}: {fault}");
    let why = format!("sends us to {}, which asks for a login", other.url(""));
    assert!(fault.detail.contains(&why) && !fault.detail.contains("hunter2"), "{name}: {fault}");
    assert!(!logins(home).is_empty(), "{name}");
    assert!(!other.heard().is_empty(), "{name}");
    assert_eq!(logins(other).len(), 0, "{name}");
    camera.stop();
}

#[test]
fn a_login_does_not_go_to_another_host_or_port() {
    let folder = tempfile::tempdir().unwrap();
    for (challenge, address) in [(BASIC, "127.0.0.2:0"), (DIGEST, "127.0.0.1:0")] {
        for way in 0..5 {
            let other = asks(address, challenge);
            let home = sends_on("DESCRIBE", challenge, other.url("/elsewhere"));
            let config = with_a_login(folder.path(), &home.url("/a")).swap_remove(way);
            assert_faithful(config, &home, &other);
        }
    }
}

#[test]
fn a_login_does_not_go_elsewhere_whichever_request_is_answered_so() {
    let folder = tempfile::tempdir().unwrap();
    for at in ["OPTIONS", "DESCRIBE", "PLAY"] {
        let other = asks("127.0.0.1:0", BASIC);
        let home = sends_on(at, DIGEST, other.url("/elsewhere"));
        assert_faithful(by_keys(folder.path(), &home.url("/a")), &home, &other);
    }
}

#[test]
fn a_redirect_to_the_same_place_keeps_the_login() {
    let folder = tempfile::tempdir().unwrap();
    for way in 0..5 {
        let home = Script::at("127.0.0.1:0", |request| match &request.login {
            None => request.login_please(BASIC),
            Some(_) if request.kind == "DESCRIBE" && request.url.ends_with("/a") => {
                request.moved(&request.url.replace("/a", "/b"))
            }
            Some(_) => request.camera(),
        });
        let config = with_a_login(folder.path(), &home.url("/a")).swap_remove(way);
        let site = Site::new();
        let camera = site.start("a", config);
        let set_up = until("the second address is set up", || {
            home.heard().into_iter().find(|request| request.kind == "SETUP" && request.url.contains("/b/"))
        });
        assert_eq!(set_up.login.as_deref(), Some(ME), "way {way}");
        camera.stop();
    }
}

#[test]
fn three_redirects_to_places_without_a_login_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::default();
    let server = RtspServer::start(&[Mount::new("/a", scene)]);
    let second = server.url("/a");
    let second = Script::at("127.0.0.2:0", move |request| request.moved(&second));
    let first = second.url("/2");
    let first = Script::at("127.0.0.1:0", move |request| match request.url.contains("/0") {
        true => request.moved(&request.url.replace("/0", "/1")),
        false => request.moved(&first),
    });
    let site = Site::new();
    let camera = site.start("a", by_keys(folder.path(), &first.url("/0")));
    assert_eq!(camera.up(), (0, scene.size, Some("avdec_h264".to_owned())));
    assert!(camera.stop() < Duration::from_secs(5));
}

#[test]
fn redirects_in_a_circle_end_and_are_tried_again_after_growing_waits() {
    for to in ["rtsp://SELF/a", "rtsp://SELF/LONGER", "http://SELF/a", "rtsp-sdp://v=0", "nonsense"] {
        let home = Script::at("127.0.0.1:0", move |request| {
            let mut parts = request.url.split('/').skip(2);
            let (own, path) = (parts.next().unwrap(), parts.next().unwrap_or_default());
            request.moved(&to.replace("SELF", own).replace("LONGER", &format!("{path}x")))
        });
        let site = Site::new();
        let camera = site.start("a", SourceConfig::rtsp(home.url("/a")));
        for expected in 1..=3 {
            let (fault, attempt, retry_in) = camera.down();
            assert_eq!((attempt, fault.cause), (expected, Cause::Unreachable), "{to}: {fault}");
            assert!(retry_in <= Duration::from_millis(250 << (expected - 1)));
            // That one GStreamer takes for an address, and then finds nobody to ask there.
            assert!(fault.detail.contains("3 redirects") || to.contains("sdp"), "{to}: {fault}");
        }
        camera.stop();
        // At most four attempts so far: of each the first connection, three more, and the one too many.
        assert!((3..=20).contains(&home.connections()), "{to}: {} connections", home.connections());
    }
}

#[test]
fn two_cameras_that_send_us_to_each_other_do_not_for_long() {
    let back: Arc<OnceLock<String>> = Arc::default();
    let told = back.clone();
    let other = Script::at("127.0.0.2:0", move |request| request.moved(told.get().unwrap()));
    let there = other.url("/b");
    let home = Script::at("127.0.0.1:0", move |request| request.moved(&there));
    back.set(home.url("/a")).unwrap();
    let site = Site::new();
    let camera = site.start("a", SourceConfig::rtsp(home.url("/a")));
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Unreachable, "{fault}");
    assert!(fault.detail.contains("3 redirects"), "{fault}");
    camera.stop();
    let connections = home.connections() + other.connections();
    assert!(connections <= 10, "{connections} connections in at most two attempts");
}

#[test]
fn another_scheme_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let other = asks("127.0.0.2:0", BASIC);
    let to = other.url("/a").replace("rtsp://", "rtsps://");
    let home = sends_on("DESCRIBE", BASIC, to.clone());
    let site = Site::new();
    let camera = site.start("a", by_keys(folder.path(), &home.url("/a")));
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Unreachable, "{fault}");
    assert!(fault.detail.contains(to.trim_end_matches("/a")) && fault.detail.contains("another scheme"), "{fault}");
    camera.stop();
    assert!(other.heard().is_empty(), "{:?}", other.heard());
}

#[test]
fn addresses_in_the_description_of_the_media_are_asked_for_at_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let other = asks("127.0.0.2:0", BASIC);
    let (session, media) = (format!("a=control:{}\r\n", other.url("/")), format!("a=control:{}\r\n", other.url("/v")));
    let stale = AtomicBool::new(true);
    let home = Script::at("127.0.0.1:0", move |request| {
        // In the middle, the login that was given is too old: another is needed, and still there.
        let again = request.kind == "SETUP" && stale.swap(false, SeqCst);
        match &request.login {
            Some(_) if !again => request.camera_with([&session, &media]),
            _ => request.login_please(&format!("{DIGEST}, stale=true")),
        }
    });
    let site = Site::new();
    let camera = site.start("a", by_keys(folder.path(), &home.url("/a")));
    until("the camera is told to play", || logins(&home).iter().any(|request| request.kind == "PLAY").then_some(()));
    camera.stop();
    assert_eq!(other.connections(), 0);
}

#[test]
fn both_halves_of_a_tunnel_through_http_go_to_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let home = Script::at("127.0.0.1:0", |_| {
        b"HTTP/1.0 200 OK\r\nX-Server-IP-Address: 127.0.0.2\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"
            .to_vec()
    });
    let other = Script::at(&format!("127.0.0.2:{}", home.address().port()), Request::camera);
    let url = home.url("/a").replace("rtsp:", "rtsph:");
    let source = format!("rtspsrc name=source location={url} user-id=me user-pw=hunter2 ! decodebin");
    let site = Site::new();
    let camera = site.start("a", described(folder.path(), &source));
    until("the second half", || home.heard().iter().any(|request| request.kind == "POST").then_some(()));
    camera.stop();
    assert_eq!(other.connections(), 0);
}

#[test]
fn an_address_in_no_encoding_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let other = asks("127.0.0.2:0", BASIC);
    let to = other.url("/");
    let home = Script::at("127.0.0.1:0", move |request| match &request.login {
        None => request.login_please(BASIC),
        Some(_) => {
            let mut answer = request.moved(&format!("{to}ODD"));
            let odd = answer.windows(3).position(|bytes| bytes == b"ODD").unwrap();
            answer[odd..odd + 3].fill(0xff);
            answer
        }
    });
    // GStreamer connects to such an address in some versions, and in others finds it wrong.
    let site = Site::new();
    let camera = site.start("a", by_keys(folder.path(), &home.url("/a")));
    let (fault, ..) = camera.down();
    assert!(matches!(fault.cause, Cause::Refused | Cause::Unreachable), "{fault}");
    assert!(fault.detail.contains(&format!("sends us to {}", other.url(""))), "{fault}");
    assert!(!fault.detail.contains("hunter2"), "{fault}");
    assert!(!logins(&home).is_empty());
    assert_eq!(logins(&other).len(), 0);
    camera.stop();
}

#[test]
fn a_login_in_the_address_may_hold_any_sign_and_its_password_may_come_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for (user, with_file, sent) in [
        ("user1:P@ssword@", false, "Basic dXNlcjE6UEBzc3dvcmQ="),
        ("user1:P%40ssword@", false, "Basic dXNlcjE6UEBzc3dvcmQ="),
        ("me@", true, ME),
        ("me:other@", true, ME),
    ] {
        let (url, given) = doorkeeper();
        let url = url.replace("rtsp://", &format!("rtsp://{user}"));
        let config = match with_file {
            true => SourceConfig { user: None, ..by_keys(folder.path(), &url) },
            false => SourceConfig::rtsp(url),
        };
        let site = Site::new();
        let camera = site.start("a", config);
        assert_eq!(given.recv_timeout(PATIENCE).unwrap().trim_end(), sent, "{user}");
        camera.stop();
    }
}
