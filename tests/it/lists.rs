//! Files that are lists of addresses in place of videos, and things that are no files: nobody is called, nothing is waited for.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use maskd::ingest::{Cause, Clip, Pace, SourceConfig};

use crate::support::{
    notify::pipe,
    process::maskd,
    scene::{Scene, film},
    site::Site,
};

/// Lists that name `place`, each with what it is called in the error.
fn lists(place: &str) -> [(&'static str, String); 5] {
    let hls =
        format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5.0,\n{place}/a.ts\n#EXT-X-ENDLIST\n");
    let dash = format!(
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT10S\" minBufferTime=\"PT1S\" profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\">\
         <BaseURL>{place}/</BaseURL><Period><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" \
         bandwidth=\"1000\" codecs=\"avc1.42001e\" width=\"64\" height=\"64\"><BaseURL>a.mp4</BaseURL></Representation>\
         </AdaptationSet></Period></MPD>"
    );
    let smooth = format!(
        "<?xml version=\"1.0\"?>\n<SmoothStreamingMedia MajorVersion=\"2\" MinorVersion=\"0\" Duration=\"100000000\">\
         <StreamIndex Type=\"video\" Url=\"{place}/Q({{bitrate}})/F({{start time}})\" Chunks=\"1\" QualityLevels=\"1\">\
         <QualityLevel Index=\"0\" Bitrate=\"1000\" FourCC=\"H264\" MaxWidth=\"64\" MaxHeight=\"64\" \
         CodecPrivateData=\"000000016742001e\"/><c d=\"100000000\"/></StreamIndex></SmoothStreamingMedia>"
    );
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:{place}\r\n\
         m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    );
    [
        ("HLS", hls),
        ("DASH", dash),
        ("Smooth Streaming", smooth),
        ("SDP", sdp),
        ("one in each line", format!("{place}/a.mp4\n{place}/b.mp4\n")),
    ]
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("holiday.mp4");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn no_address_in_a_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let place = format!("http://{}", server.local_addr().unwrap());
    let nobody_came = |form: &str| assert!(server.accept().is_err(), "somebody called the address in {form}");
    let site = Site::new();
    for (number, (called, text)) in lists(&place).into_iter().enumerate() {
        let path = write(folder.path(), &text);
        let said = format!("it is a list of addresses ({called})");

        let error = format!("{:#}", Clip::open(&path).err().expect(called));
        assert!(error.contains("holiday.mp4") && error.contains(&said) && error.lines().count() == 1, "{error}");
        nobody_came(called);

        let config = SourceConfig::file(path.to_str().unwrap(), Pace::Fast);
        let camera = site.start(&format!("film-{number}"), config);
        let (fault, ..) = camera.down();
        assert!(fault.detail.contains("holiday.mp4") && fault.detail.contains(&said), "{fault}");
        assert_eq!(fault.cause, Cause::WrongCaps);
        nobody_came(called);
    }
    let (_, text) = &lists(&place)[0];
    let (path, out) = (write(folder.path(), text), folder.path().join("out"));
    for command in ["segment", "attention"] {
        let output = maskd(&[command, path.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(65) && text.contains("HLS") && text.lines().count() == 1, "{text}");
        assert!(!out.exists());
    }
    nobody_came("HLS");
}

#[test]
fn no_other_file_is_opened_through_a_list() {
    let (folder, film) = film(Scene { frames: 8, ..Scene::default() });
    // What the lists name is there, and could be played.
    for name in ["a.ts", "a.mp4", "b.mp4"] {
        std::fs::copy(&film, folder.path().join(name)).unwrap();
    }
    for (called, text) in lists(&format!("file://{}", folder.path().display())) {
        let error = format!("{:#}", Clip::open(&write(folder.path(), &text)).err().expect(called));
        assert!(error.contains(called), "{error}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (film, picture) = (folder.path().join("film.mp4"), folder.path().join("photo.png"));
    pipe(&film);
    pipe(&picture);
    for (path, said) in [(&film, "named pipe"), (&picture, "named pipe"), (&PathBuf::from("/dev/zero"), "device")] {
        let error = format!("{:#}", Clip::open(path).err().expect(said));
        assert!(error.contains(path.to_str().unwrap()) && error.contains(said), "{error}");
    }
    let site = Site::new();
    for (name, path, said) in [
        ("pipe", film.as_path(), "named pipe"),
        ("device", Path::new("/dev/zero"), "device"),
        ("folder", folder.path(), "folder"),
    ] {
        let camera = site.start(name, SourceConfig::file(path.to_str().unwrap(), Pace::Fast));
        // Each time that the pipeline is built.
        for _ in 0..2 {
            let (fault, ..) = camera.down();
            assert!(fault.detail.contains(path.to_str().unwrap()) && fault.detail.contains(said), "{fault}");
            assert_eq!(fault.cause, Cause::Unreachable);
        }
    }
}
