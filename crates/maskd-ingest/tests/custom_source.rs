//! A kind of source that is none of maskd's own: registered, named in a configuration, played to its end. In a process of
//! its own, since a registered kind is there for all.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use maskd_ingest::{
    Camera, CameraEvent, Key, Kind, Pace, Source, SourceConfig, SourceError,
    gstreamer::{self as gst, prelude::*},
};
use maskd_observability::metrics::Metrics;
use maskd_scheduling::mailbox::Mailbox;
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Resolution, Size, StreamId},
};

const PICTURES: u64 = 5;

/// Plays a few pictures of one colour, which `device` names, out of this program's memory.
struct Painter;

fn colour(config: &SourceConfig) -> Option<[u8; 3]> {
    match config.device.as_ref()?.to_str()? {
        "red" => Some([255, 0, 0]),
        "blue" => Some([0, 0, 255]),
        _ => None,
    }
}

impl Source for Painter {
    fn name(&self) -> &'static str {
        "painter"
    }

    fn description(&self) -> &str {
        "appsrc name=source format=time caps=video/x-raw,format=RGB,width=64,height=48,framerate=10/1
         ! videoscale ! videoconvert ! capsfilter name=size ! appsink name=frames"
    }

    fn has(&self, key: Key) -> bool {
        matches!(key, Key::Device | Key::Pace)
    }

    fn is_live(&self) -> bool {
        false
    }

    fn faults(&self, config: &SourceConfig) -> Vec<(&'static str, String)> {
        let unknown = colour(config).is_none().then(|| ("device", "say \"red\" or \"blue\"".to_owned()));
        unknown.into_iter().collect()
    }

    fn set_up(&self, config: &SourceConfig, source: &gst::Element) -> Vec<SourceError> {
        let (rgb, sent) = (colour(config).unwrap_or_default().repeat(64 * 48), AtomicU64::new(0));
        source.connect("need-data", false, move |values| {
            let source = values.first()?.get::<gst::Element>().ok()?;
            let at = sent.fetch_add(1, Ordering::Relaxed);
            if at < PICTURES {
                let mut buffer = gst::Buffer::from_slice(rgb.clone());
                buffer.get_mut()?.set_pts(gst::ClockTime::from_mseconds(at * 100));
                let _ = source.emit_by_name::<gst::FlowReturn>("push-buffer", &[&buffer]);
            } else {
                let _ = source.emit_by_name::<gst::FlowReturn>("end-of-stream", &[]);
            }
            None
        });
        Vec::new()
    }
}

fn read(text: &str) -> Result<SourceConfig, String> {
    let config: SourceConfig = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    config.check().map_err(|e| e.to_string()).map(|()| config)
}

#[test]
fn a_kind_of_ones_own_is_named_in_a_configuration_checked_and_played() {
    let table = "kind = \"painter\"\npace = \"fast\"\ndevice = ";
    let unknown = read(&format!("{table}\"red\"")).unwrap_err();
    assert_eq!(unknown, "unknown variant `painter`, expected one of `file`, `rtsp`, `v4l2`, `test`");
    let painter = Kind::register(&Painter).unwrap();
    for taken in [painter, Kind::TEST] {
        struct Other(Kind);
        impl Source for Other {
            fn name(&self) -> &'static str {
                self.0.name()
            }
            fn description(&self) -> &str {
                ""
            }
            fn has(&self, _key: Key) -> bool {
                false
            }
        }
        let error = Kind::register(Box::leak(Box::new(Other(taken)))).unwrap_err().to_string();
        assert!(error.contains(taken.name()) && error.contains("another name"), "{error}");
    }

    // Its own rules hold, and messages know it.
    for (text, said) in [
        (format!("{table}\"mauve\""), "device: say \"red\" or \"blue\""),
        (format!("{table}\"red\"\nuser = \"me\""), "user: only kind = \"rtsp\" has one"),
        (format!("{table}\"red\"\nloop = true"), "loop: true needs kind = \"file\""),
        ("kind = \"test\"\ndevice = \"red\"".to_owned(), "device: only kind = \"v4l2\" or \"painter\" has one"),
        ("kind = \"test\"\npace = \"fast\"".to_owned(), "pace: \"fast\" needs kind = \"file\" or \"painter\""),
        (
            String::new(),
            "kind: say \"file\", \"rtsp\", \"v4l2\", \"test\" or \"painter\", or name a description in `pipeline`",
        ),
    ] {
        assert_eq!(read(&text).unwrap_err(), said);
    }

    for (device, pixel) in [("red", [255, 0, 0]), ("blue", [0, 0, 255])] {
        let config = read(&format!("{table}\"{device}\"")).unwrap();
        assert_eq!((config.kind, config.pace, config.plays_once()), (Some(painter), Pace::Fast, true));
        assert_eq!(toml::from_str::<SourceConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        let (metrics, id): (_, StreamId) = (Metrics::new(), "drawn".parse().unwrap());
        let mailbox = Mailbox::new(metrics.clone());
        let resolution = Resolution { short_side: 28, multiple: 14 };
        let camera = Camera::new(id.clone(), config, resolution, mailbox.add_stream(&id), metrics).unwrap();
        let (mut events, mut frames) = (Vec::new(), Vec::new());
        std::thread::scope(|scope| {
            let ended = CancellationToken::new();
            let over = ended.clone();
            let events = &mut events;
            scope.spawn(move || {
                camera.run(&CancellationToken::new(), &mut |event| events.push(event));
                over.cancel();
            });
            // The camera waits for each frame to be taken.
            while frames.len() < PICTURES as usize && !ended.is_cancelled() {
                if mailbox.wait(&ended, Duration::from_millis(20)) {
                    frames.extend(mailbox.take_batch(1));
                }
            }
        });
        assert_eq!(frames.len(), PICTURES as usize, "{events:?}");
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!((frame.sequence, frame.pts_ns), (i as u64, Some(i as u64 * 100_000_000)));
            assert_eq!((frame.source, frame.size), (Size::new(64, 48), Size::new(28, 28)));
            assert!(frame.rgb.chunks(3).all(|p| p == pixel), "frame {i}: {:?}", &frame.rgb[..3]);
        }
        let decoder = None;
        let up = CameraEvent::Up { epoch: 0, source: Size::new(64, 48), decoder };
        assert_eq!(events, [up, CameraEvent::Ended]);
    }
}
