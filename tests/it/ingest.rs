//! Streams as they are in the field: files that end, servers that die, cameras that fall silent, tables with mistakes.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use maskd::{
    frame::{Frame, Resolution, Size, StreamId},
    ingest::{Camera, CameraEvent, Cause, Clip, Fault, Inbox, Kind, Mp4Writer, Pace, SourceConfig, Stop},
    metrics::{DropCause, Metrics, Stage},
};

use crate::support::{
    PATIENCE,
    rtsp::{Mount, RtspServer},
    scene::Scene,
};

const NETWORK: Resolution = Resolution { short_side: 112, multiple: 14 };
/// What a 320x240 scene becomes for [`NETWORK`].
const NETWORK_SIZE: Size = Size::new(140, 112);

/// Several cameras and the engine's end of their mailbox.
struct Site {
    inbox: Inbox,
    metrics: Metrics,
}

/// A camera that runs on a thread of its own until dropped.
struct Live {
    id: StreamId,
    stop: Stop,
    events: Receiver<CameraEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    fn new() -> Self {
        let metrics = Metrics::new();
        Self { inbox: Inbox::new(metrics.clone()), metrics }
    }

    fn start(&self, name: &str, config: SourceConfig) -> Live {
        let id: StreamId = name.parse().unwrap();
        let outlet = self.inbox.add_stream(&id);
        let camera = Camera::new(id.clone(), config, NETWORK, outlet, self.metrics.clone()).unwrap();
        let (tell, events) = bounded(4096);
        let stop = Stop::new();
        let until = stop.clone();
        let run = move || camera.run(&until, &mut |event| tell.send(event).unwrap());
        Live { id, stop, events, thread: Some(thread::spawn(run)) }
    }

    /// The next frames of any stream.
    fn frames(&self) -> Vec<Frame> {
        assert!(self.inbox.wait(&Stop::new(), PATIENCE), "no frame");
        self.inbox.take_batch(8)
    }

    /// The next frame of the only stream for which `wanted` holds.
    fn frame(&self, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(frame) = self.frames().into_iter().find(&mut wanted) {
                return frame;
            }
        }
        panic!("no such frame");
    }

    /// captured = taken + dropped, for a stream that has ended with an empty slot.
    fn assert_accounted(&self, stream: &StreamId, taken: u64) {
        let dropped = |cause| self.metrics.dropped_count(stream, Stage::Ingest, cause);
        let lost: u64 = [DropCause::Superseded, DropCause::Unreadable, DropCause::Stopping].map(dropped).iter().sum();
        assert_eq!(self.metrics.captured_count(stream), taken + lost, "{stream}");
    }

    fn reconnects(&self, stream: &str, cause: Cause) -> u64 {
        let name = format!("maskd_reconnects_total{{stream=\"{stream}\",cause=\"{cause}\"}} ");
        let text = self.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }
}

impl Live {
    fn event(&self) -> CameraEvent {
        self.events.recv_timeout(PATIENCE).expect("the camera says nothing")
    }

    fn up(&self) -> (u32, Size, Option<String>) {
        loop {
            if let CameraEvent::Up { epoch, source, decoder } = self.event() {
                return (epoch, source, decoder);
            }
        }
    }

    fn down(&self) -> (Fault, u32, Duration) {
        loop {
            if let CameraEvent::Down { fault, attempt, retry_in } = self.event() {
                return (fault, attempt, retry_in);
            }
        }
    }

    /// Stops it and says how long that took.
    fn stop(mut self) -> Duration {
        let start = Instant::now();
        self.stop.set();
        self.thread.take().unwrap().join().unwrap();
        start.elapsed()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.set();
    }
}

/// A folder with the scene as `video.mp4`.
fn film(scene: Scene) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.mp4");
    scene.write_video(&path);
    (folder, path)
}

fn file(path: &Path, pace: Pace) -> SourceConfig {
    SourceConfig::file(path.to_str().unwrap(), pace)
}

fn custom(folder: &Path, text: &str) -> SourceConfig {
    let path = folder.join("mine.launch");
    std::fs::write(&path, text).unwrap();
    SourceConfig { pipeline: Some(path), ..SourceConfig::default() }
}

#[test]
fn a_fast_file_delivers_every_frame_in_order_and_ends() {
    let scene = Scene::default();
    let (_folder, path) = film(scene);
    let site = Site::new();
    let camera = site.start("clip", file(&path, Pace::Fast));
    let mut got = Vec::new();
    while got.len() < scene.frames as usize {
        got.extend(site.frames());
    }
    assert_eq!(camera.up(), (0, scene.size, Some("avdec_h264".to_owned())));
    assert_eq!(camera.event(), CameraEvent::Ended);
    for (i, frame) in got.iter().enumerate() {
        assert_eq!((frame.sequence, frame.epoch), (i as u64, 0));
        assert_eq!((frame.size, frame.source), (NETWORK_SIZE, scene.size));
        assert_eq!(frame.rgb.len(), NETWORK_SIZE.area() * 3);
        // The file's own time line may begin after 0 (reordered frames); it is not moved.
        let time = frame.pts_ns.unwrap() - got[0].pts_ns.unwrap();
        let off = time.abs_diff(scene.pts(i as u64).nseconds());
        assert!(off < 1_000_000, "frame {i} is off by {off} ns");
    }
    assert_eq!(site.metrics.captured_count(&camera.id), scene.frames);
    site.assert_accounted(&camera.id, scene.frames);
    assert!(site.inbox.take_batch(1).is_empty());
    // The picture is the scene's: compare the middle of the square, which no scaling blurs.
    let (left, top, side) = scene.shapes(30)[1];
    let (x, y) = ((left + side / 2) as usize, (top + side / 2) as usize);
    let (x, y) = (x * 140 / 320, y * 112 / 240);
    let at = (y * 140 + x) * 3;
    let pixel = &got[30].rgb[at..at + 3];
    assert!(pixel[2] > 130 && pixel[0] < 110, "the square is blue: {pixel:?}");
}

#[test]
fn a_paced_file_takes_its_time_and_accounts_for_every_frame() {
    let scene = Scene { frames: 30, fps: 30, ..Scene::default() };
    let (_folder, path) = film(scene);
    let site = Site::new();
    let start = Instant::now();
    let camera = site.start("clip", file(&path, Pace::Timestamps));
    camera.up();
    let (mut taken, mut last) = (0, None);
    loop {
        if site.inbox.wait(&Stop::new(), Duration::from_millis(20)) {
            for frame in site.inbox.take_batch(1) {
                assert!(last < Some(frame.sequence));
                last = Some(frame.sequence);
                taken += 1;
            }
        } else if camera.events.try_recv() == Ok(CameraEvent::Ended) {
            break;
        }
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900), "30 frames at 30 a second took {took:?}");
    taken += site.inbox.take_batch(1).len() as u64;
    assert_eq!(site.metrics.captured_count(&camera.id), scene.frames);
    site.assert_accounted(&camera.id, taken);
}

#[test]
fn a_looping_file_starts_over_in_a_new_epoch() {
    let scene = Scene { frames: 10, ..Scene::default() };
    let (_folder, path) = film(scene);
    let site = Site::new();
    let camera = site.start("clip", SourceConfig { repeat: true, ..file(&path, Pace::Fast) });
    let mut got = Vec::new();
    while got.len() < 25 {
        got.extend(site.frames().into_iter().map(|f| (f.sequence, f.epoch, f.pts_ns.unwrap())));
    }
    for (i, (sequence, epoch, pts)) in got.iter().enumerate() {
        assert_eq!((*sequence, *epoch), (i as u64, i as u32 / 10));
        assert_eq!(*pts, got[i % 10].2, "the same frame has the same timestamp each time");
    }
    assert_eq!(camera.up().0, 0);
    assert_eq!(camera.up().0, 1);
    assert!(site.reconnects("clip", Cause::Replay) >= 2);
    assert!(camera.stop() < Duration::from_secs(5));
}

#[test]
fn a_fast_file_that_waits_for_the_engine_stops_at_once() {
    let (_folder, path) = film(Scene { frames: 30, ..Scene::default() });
    let site = Site::new();
    let camera = site.start("clip", file(&path, Pace::Fast));
    camera.up();
    let id = camera.id.clone();
    // Nobody takes the frame in the slot: the file's second frame waits.
    crate::support::until("the second frame", || (site.metrics.captured_count(&id) == 2).then_some(()));
    assert!(camera.stop() < Duration::from_secs(5));
    let waiting = site.inbox.take_batch(8).len() as u64;
    assert_eq!(waiting, 1);
    site.assert_accounted(&id, waiting);
}

#[test]
fn a_test_picture_flows_and_takes_properties() {
    let site = Site::new();
    let text = "kind = \"test\"\n[properties.source]\npattern = \"red\"\n\
                [properties.mode]\ncaps = \"video/x-raw,width=200,height=100,framerate=30/1\"";
    let camera = site.start("drawn", toml::from_str(text).unwrap());
    assert_eq!(camera.up(), (0, Size::new(200, 100), None));
    let frame = site.frame(|_| true);
    assert_eq!((frame.source, frame.size), (Size::new(200, 100), Size::new(224, 112)));
    assert!(frame.rgb.chunks(3).all(|p| p[0] > 240 && p[1] < 15 && p[2] < 15));
    assert!(camera.stop() < Duration::from_secs(5));
}

#[test]
fn a_dead_server_comes_back_in_a_new_epoch_and_the_other_camera_never_notices() {
    let scene = Scene::default();
    let server = RtspServer::start(&[Mount::new("/a", scene)]);
    let other = RtspServer::start(&[Mount::new("/b", Scene { fps: 10, ..scene })]);
    let site = Site::new();
    let quick = |url| SourceConfig { stall_timeout_s: 3.0, latency_ms: 50, ..SourceConfig::rtsp(url) };
    let a = site.start("a", quick(server.url("/a")));
    let b = site.start("b", quick(other.url("/b")));
    assert_eq!(a.up(), (0, scene.size, Some("avdec_h264".to_owned())));
    assert_eq!(b.up().0, 0);

    let mut seen: HashMap<StreamId, Vec<Frame>> = HashMap::new();
    let mut watch = |wanted: &dyn Fn(&Frame) -> bool| {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let batch = site.frames();
            let found = batch.iter().any(wanted);
            batch.into_iter().for_each(|frame| seen.entry(frame.stream.clone()).or_default().push(frame));
            if found {
                return;
            }
        }
        panic!("no such frame");
    };
    watch(&|f| f.stream == a.id && f.sequence >= 5);
    let port = server.kill();
    let (fault, attempt, _) = a.down();
    assert_eq!(attempt, 1, "{fault}");
    assert_eq!(fault.to_string().lines().count(), 1);
    let (fault, ..) = a.down();
    assert_eq!(fault.cause, Cause::Unreachable, "{fault}");
    assert!(fault.detail.contains(&format!("127.0.0.1:{port}")), "{fault}");

    let _server = RtspServer::start_at(port, &[Mount::new("/a", scene)]);
    assert_eq!(a.up().0, 1);
    watch(&|f| f.stream == a.id && f.epoch == 1 && f.sequence > 10);
    let (a_id, b_id) = (a.id.clone(), b.id.clone());
    assert!(a.stop() < Duration::from_secs(5));
    assert!(b.events.try_recv().is_err(), "the other camera has news");
    assert!(b.stop() < Duration::from_secs(5));
    let mut rest = site.inbox.take_batch(8);
    rest.drain(..).for_each(|frame| seen.entry(frame.stream.clone()).or_default().push(frame));

    for (id, epochs) in [(&a_id, 2), (&b_id, 1)] {
        let frames = &seen[id];
        assert!(frames.windows(2).all(|w| w[0].sequence < w[1].sequence && w[0].epoch <= w[1].epoch));
        assert_eq!(frames.last().unwrap().epoch + 1, epochs);
        assert!(frames.iter().all(|f| f.size == NETWORK_SIZE && f.source == scene.size));
        site.assert_accounted(id, frames.len() as u64);
    }
    // The other camera's own time runs on by a tenth of a second a frame: nothing is missing, and it did not pause.
    let line: Vec<_> = seen[&b_id].iter().map(|f| (f.sequence, f.pts_ns.unwrap())).collect();
    for pair in line.windows(2).chain([&[line[0], line[line.len() - 1]][..]]) {
        let (frames, pts) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!(pts.abs_diff(frames * 100_000_000) < 250_000_000, "{frames} frames in {pts} ns");
    }
}

#[test]
fn a_silent_camera_is_found_out_and_rebuilt() {
    let server = RtspServer::start(&[Mount::new("/a", Scene::default()).falls_silent_after(12)]);
    let site = Site::new();
    let config = SourceConfig { stall_timeout_s: 2.0, latency_ms: 50, ..SourceConfig::rtsp(server.url("/a")) };
    let camera = site.start("a", config);
    assert_eq!(camera.up().0, 0);
    let (fault, ..) = camera.down();
    assert_eq!((fault.cause, camera.up().0), (Cause::Stall, 1), "{fault}");
    assert_eq!(site.reconnects("a", Cause::Stall), 1);
    assert!(site.frame(|f| f.epoch == 1).sequence > 0);
}

#[test]
fn a_refused_address_is_tried_again_and_again_and_stops_at_once() {
    // A port that was free a moment ago refuses.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::new();
    let url = format!("rtsp://me:hunter2@127.0.0.1:{port}/live?token=hunter2");
    let camera = site.start("a", SourceConfig::rtsp(url));
    for expected in 1..=4 {
        let (fault, attempt, retry_in) = camera.down();
        assert_eq!((attempt, fault.cause), (expected, Cause::Unreachable), "{fault}");
        assert!(retry_in <= Duration::from_millis(250 << (expected - 1)));
        assert!(!fault.detail.contains("hunter2"), "{fault}");
        assert!(fault.detail.contains(&format!("rtsp://***@127.0.0.1:{port}/live")), "{fault}");
    }
    assert_eq!(site.reconnects("a", Cause::Unreachable), 4);
    assert!(camera.stop() < Duration::from_secs(3));
}

/// Answers every RTSP request with a demand for a password; reports the passwords it is given.
fn doorkeeper() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let (tell, given) = bounded(64);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut answers = stream.try_clone().unwrap();
            let (mut number, mut lines) = (String::new(), BufReader::new(stream).lines());
            while let Some(Ok(line)) = lines.next() {
                if let Some(value) = line.strip_prefix("CSeq: ") {
                    number = value.to_owned();
                } else if let Some(value) = line.strip_prefix("Authorization: ") {
                    let _ = tell.try_send(value.to_owned());
                } else if line.is_empty() {
                    let demand = "WWW-Authenticate: Basic realm=\"door\"";
                    let _ = write!(answers, "RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\n{demand}\r\n\r\n");
                }
            }
        }
    });
    (url, given)
}

#[test]
fn the_password_comes_from_its_file_and_a_wrong_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "hunter2\n").unwrap();
    let (url, given) = doorkeeper();
    let site = Site::new();
    let user = Some("me".to_owned());
    let config = SourceConfig { user, password_file: Some(path.clone()), ..SourceConfig::rtsp(url) };
    let camera = site.start("a", config);
    assert_eq!(given.recv_timeout(PATIENCE).unwrap().trim_end(), "Basic bWU6aHVudGVyMg==", "me:hunter2");
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Refused, "{fault}");
    assert!(!fault.detail.contains("hunter2"), "{fault}");
    // A changed password is used at the next try; a missing file is a failure like any other.
    std::fs::write(&path, "better").unwrap();
    while given.recv_timeout(PATIENCE).unwrap().trim_end() != "Basic bWU6YmV0dGVy" {}
    std::fs::remove_file(&path).unwrap();
    while !camera.down().0.detail.contains("password_file") {}
    assert!(camera.stop() < Duration::from_secs(5));
}

#[test]
fn an_address_that_accepts_and_says_nothing_stalls_and_stops_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let site = Site::new();
    let camera = site.start("a", SourceConfig { stall_timeout_s: 0.5, ..SourceConfig::rtsp(url) });
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Stall, "{fault}");
    assert!(camera.stop() < Duration::from_secs(5));
}

#[test]
fn missing_corrupt_and_soundless_files_say_so_and_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let corrupt = folder.path().join("corrupt.mp4");
    std::fs::write(&corrupt, [7; 5000]).unwrap();
    let site = Site::new();
    for (name, path) in [("missing", folder.path().join("no such.mp4")), ("corrupt", corrupt)] {
        let camera = site.start(name, file(&path, Pace::Fast));
        for _ in 0..2 {
            let (fault, ..) = camera.down();
            let line = fault.to_string();
            assert!(line.contains(path.to_str().unwrap()), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
            assert_eq!(fault.cause == Cause::Unreachable, name == "missing", "{line}");
        }
    }
}

#[test]
fn a_change_of_size_in_mid_stream_is_followed_and_a_jump_in_time_opens_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    // The second source's timestamps start at 0 again; frames keep them.
    let text = "# two cameras in turn\n\
        concat name=source ! videoscale ! videoconvert ! capsfilter name=size ! appsink name=frames\n\
        videotestsrc num-buffers=10 ! video/x-raw,width=320,height=240,framerate=10/1 ! source.\n\
        videotestsrc num-buffers=10 ! video/x-raw,width=640,height=360,framerate=10/1 ! source.\n";
    let site = Site::new();
    let mut config = custom(folder.path(), text);
    config.kind = Some(Kind::File);
    config.pace = Pace::Fast;
    let camera = site.start("a", config);
    let mut got = Vec::new();
    while got.len() < 20 {
        got.extend(site.frames());
    }
    for (i, frame) in got.iter().enumerate() {
        let second = i >= 10;
        let (source, size) = if second { ((640, 360), (196, 112)) } else { ((320, 240), (140, 112)) };
        assert_eq!(frame.source, Size::new(source.0, source.1), "frame {i}");
        assert_eq!(frame.size, Size::new(size.0, size.1), "frame {i}");
        assert_eq!((frame.epoch, frame.sequence), (u32::from(second), i as u64));
        assert_eq!(frame.pts_ns, Some((i as u64 % 10) * 100_000_000));
    }
    assert_eq!(camera.up().0, 0);
    assert_eq!(camera.event(), CameraEvent::Jumped { epoch: 1 });
    assert_eq!(camera.event(), CameraEvent::Ended);
}

#[test]
fn pictures_that_cannot_become_rgb_are_wrong_caps() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new();
    let text = "videotestsrc name=source ! capsfilter caps=video/x-raw,format=NV12 ! appsink name=frames";
    for (name, text) in [("unconverted", text.to_owned()), ("tall", strip(16, 4000))] {
        let camera = site.start(name, custom(folder.path(), &text));
        let (fault, ..) = camera.down();
        assert_eq!(fault.cause, Cause::WrongCaps, "{fault}");
    }
    let camera = site.start("unscaled", custom(folder.path(), &text.replace("NV12", "RGB,width=50,height=30")));
    assert_eq!(camera.up().1, Size::new(50, 30));
    let frame = site.frame(|f| f.stream.as_str() == "unscaled");
    assert_eq!((frame.size, frame.source, frame.rgb.len()), (Size::new(50, 30), Size::new(50, 30), 4500));
}

fn strip(width: u32, height: u32) -> String {
    format!(
        "videotestsrc name=source ! video/x-raw,width={width},height={height} ! videoscale ! videoconvert \
         ! capsfilter name=size ! appsink name=frames"
    )
}

#[test]
fn a_table_that_cannot_work_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new();
    let refuse = |config: SourceConfig| {
        let id: StreamId = "a".parse().unwrap();
        let outlet = site.inbox.add_stream(&id);
        let error = Camera::new(id, config, NETWORK, outlet, site.metrics.clone()).err().expect("refused").to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let text = "videotestsrc name=source ! nvmagic ! appsink name=frames";
    let error = refuse(custom(folder.path(), text));
    assert!(error.contains("nvmagic") && error.contains("mine.launch"), "{error}");
    let missing = SourceConfig { pipeline: Some(folder.path().join("none.launch")), ..SourceConfig::default() };
    assert!(refuse(missing).contains("none.launch"));
    let table = "kind = \"test\"\n[properties.source]\npattern = \"tartan\"";
    assert!(refuse(toml::from_str(table).unwrap()).contains("properties.source.pattern"));
}

#[test]
fn the_descriptions_run_under_gst_launch_as_their_heads_say() {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let (folder, _path) = film(Scene { frames: 8, ..Scene::default() });
    for (name, more) in [("file", ""), ("test", " num-buffers=3")] {
        let text = std::fs::read_to_string(pipelines.join(format!("{name}.launch"))).unwrap();
        let text = text.replace("name=source", &format!("name=source{more}"));
        let words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
        let out =
            Command::new("gst-launch-1.0").args(words).current_dir(folder.path()).output().expect("gst-launch-1.0");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("EOS"), "{name}: {said}");
    }
}

#[test]
fn a_video_clip_yields_every_frame_at_full_size() {
    let scene = Scene { size: Size::new(318, 178), frames: 20, fps: 10 };
    let folder = tempfile::tempdir().unwrap();
    for name in ["film.mp4", "film.mkv"] {
        let path = folder.path().join(name);
        scene.write_video(&path);
        let clip = Clip::open(&path).unwrap();
        assert_eq!((clip.size(), clip.fps(), clip.len_hint()), (scene.size, Some((10, 1)), Some(20)));
        let frames: Vec<_> = clip.map(Result::unwrap).collect();
        assert_eq!(frames.len(), 20);
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!((frame.name.as_str(), frame.size), (format!("{i:05}").as_str(), scene.size));
            let off = mean_difference(&frame.rgb, &scene.rgb(i as u64));
            assert!(off < 12.0, "frame {i} of {name} is off by {off} levels");
        }
        assert!(frames.windows(2).all(|w| w[0].pts_ns < w[1].pts_ns));
    }
}

/// Mean absolute difference in levels of 0..=255.
fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn files_that_are_no_clip_are_refused_by_name() {
    let (folder, film) = film(Scene { frames: 8, ..Scene::default() });
    let whole = std::fs::read(film).unwrap();
    let sound = folder.path().join("sound.wav");
    let wave = format!("audiotestsrc num-buffers=20 ! wavenc ! filesink location={}", sound.display());
    let made = Command::new("gst-launch-1.0").args(wave.split(' ')).output().unwrap();
    assert!(made.status.success());
    for (name, bytes, said) in [
        ("noise.mp4", vec![0xA7; 3000], "type"),
        ("cut.mp4", whole[..whole.len() / 2].to_vec(), ""),
        ("empty.mp4", Vec::new(), ""),
        ("sound.wav", std::fs::read(&sound).unwrap(), "no video"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = match Clip::open(&path) {
            Ok(clip) => clip.filter_map(Result::err).next().expect(name),
            Err(error) => error,
        };
        let line = format!("{error:#}");
        assert!(line.contains(name) && line.contains(said), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_written_video_reads_back_and_an_unfinished_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.mp4");
    // Odd sides: the video is one row and one column larger.
    let scene = Scene { size: Size::new(161, 121), frames: 12, fps: 30 };
    let mut writer = Mp4Writer::create(&path, scene.size, (30, 1)).unwrap();
    for i in 0..scene.frames {
        writer.push(&scene.rgb(i)).unwrap();
    }
    assert!(writer.push(&[0; 7]).is_err());
    assert!(!path.exists(), "nothing under its name before it is finished");
    writer.finish().unwrap();
    let clip = Clip::open(&path).unwrap();
    assert_eq!((clip.size(), clip.fps()), (Size::new(162, 122), Some((30, 1))));
    let frames: Vec<_> = clip.map(Result::unwrap).collect();
    assert_eq!(frames.len(), 12);
    let cropped: Vec<u8> = frames[5].rgb.chunks(162 * 3).take(121).flat_map(|row| row[..161 * 3].to_vec()).collect();
    let off = mean_difference(&cropped, &scene.rgb(5));
    assert!(off < 12.0, "frame 5 is off by {off} levels");

    let mut writer = Mp4Writer::create(&folder.path().join("never.mp4"), scene.size, (30, 1)).unwrap();
    writer.push(&scene.rgb(0)).unwrap();
    drop(writer);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["out.mp4"]);
    let error = format!("{:#}", Mp4Writer::create(Path::new("/nowhere/out.mp4"), scene.size, (30, 1)).err().unwrap());
    assert!(error.contains("/nowhere/out.mp4"), "{error}");
}
