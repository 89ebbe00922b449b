//! Streams from files, test pictures and descriptions of the user's own.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use maskd::{
    cancellation::CancellationToken,
    frame::{Size, StreamId},
    ingest::{Camera, CameraEvent, Cause, Kind, Pace, SourceConfig},
};

use crate::support::{
    scene::{Scene, film},
    site::{NETWORK, NETWORK_SIZE, Site},
    until,
};

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
    assert_eq!(site.metrics.account(&camera.id).captured, scene.frames);
    site.assert_accounted(&camera.id, scene.frames);
    assert!(site.mailbox.take_batch(1).is_empty());
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
        if site.mailbox.wait(&CancellationToken::new(), Duration::from_millis(20)) {
            for frame in site.mailbox.take_batch(1) {
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
    taken += site.mailbox.take_batch(1).len() as u64;
    assert_eq!(site.metrics.account(&camera.id).captured, scene.frames);
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
    until("the second frame", || (site.metrics.account(&id).captured == 2).then_some(()));
    assert!(camera.stop() < Duration::from_secs(5));
    let waiting = site.mailbox.take_batch(8).len() as u64;
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
fn a_panic_in_a_cameras_thread_is_told_and_the_camera_comes_back() {
    let site = Site::new();
    let id: StreamId = "drawn".parse().unwrap();
    let sender = site.mailbox.add_stream(&id);
    let camera = Camera::new(id.clone(), SourceConfig::of(Kind::TEST), NETWORK, sender, site.metrics.clone()).unwrap();
    let (stop, mut seen) = (CancellationToken::new(), Vec::new());
    camera.run(&stop, &mut |event| {
        let ups = seen.iter().filter(|e| matches!(e, CameraEvent::Up { .. })).count();
        let up = matches!(event, CameraEvent::Up { .. });
        seen.push(event);
        match (up, ups) {
            (true, 0) => panic!("what nobody thought of"),
            (true, _) => stop.cancel(),
            _ => {}
        }
    });
    let [CameraEvent::Up { epoch: 0, .. }, CameraEvent::Down { fault, .. }, CameraEvent::Up { epoch: 1, .. }] =
        &seen[..]
    else {
        panic!("{seen:?}")
    };
    assert!(fault.detail.contains("This is a bug") && fault.detail.contains("what nobody thought of"), "{fault}");
    assert_eq!(site.reconnects("drawn", Cause::Error), 1);
    site.assert_accounted(&id, site.mailbox.take_batch(1).len() as u64);
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
    config.kind = Some(Kind::FILE);
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
fn after_a_loss_no_picture_comes_that_is_not_whole() {
    const FRAMES: usize = 120;
    let folder = tempfile::tempdir().unwrap();
    // Small packets, some of which are lost; a key frame every ten frames.
    let shown = |loss: f64| {
        let text = format!(
            "videotestsrc name=source num-buffers={FRAMES} pattern=ball \
             ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 \
             ! x264enc tune=zerolatency threads=1 key-int-max=10 quantizer=20 pass=quant \
             ! rtph264pay mtu=120 ! identity drop-probability={loss} ! decodebin ! videoconvert ! appsink name=frames"
        );
        let kind = Some(Kind::FILE);
        let site = Site::new();
        let camera = site.start("lossy", SourceConfig { kind, pace: Pace::Fast, ..custom(folder.path(), &text) });
        camera.up();
        let mut shown = Vec::new();
        loop {
            let over = camera.events.try_recv() == Ok(CameraEvent::Ended);
            while site.mailbox.wait(&CancellationToken::new(), Duration::from_millis(20)) {
                shown.extend(site.mailbox.take_batch(8).into_iter().map(|frame| frame.rgb));
            }
            if over {
                return shown;
            }
        }
    };
    let (whole, lossy) = (shown(0.0), shown(0.01));
    assert_eq!(whole.len(), FRAMES);
    assert!((10..FRAMES).contains(&lossy.len()), "{} came", lossy.len());
    let wrong = lossy.iter().filter(|picture| !whole.contains(picture)).count();
    assert_eq!(wrong, 0, "of {} pictures", lossy.len());
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
        let sender = site.mailbox.add_stream(&id);
        let error = Camera::new(id, config, NETWORK, sender, site.metrics.clone()).err().expect("refused").to_string();
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
