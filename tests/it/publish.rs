//! Messages out over real zenoh sessions on loopback; and the helpers that the tests of prompts share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use maskd::{
    frame::{Frame, Quality, Size, StreamId},
    heartbeat::Heartbeats,
    instance::{EndCause, Instance, Prompt, TrackEvent},
    mask::{LabelMap, Rle},
    metrics::Metrics,
    publish::{
        Answer, Mode, PromptRequest, PublishConfig, Publisher as _, Reader, Received, Requests, StreamPublisher,
        ZenohPublisher, ask,
        keys::Site,
        wire::{self, Event, Format, MasksMessage, StatusMessage},
    },
};
use tokio::{sync::mpsc, time::timeout};
use zenoh::{
    bytes::Encoding,
    qos::{CongestionControl, Priority},
};

use crate::wire::status;

pub const WITHIN: Duration = Duration::from_secs(30);

pub fn stream(name: &str) -> StreamId {
    name.parse().unwrap()
}

pub fn site() -> Site {
    "yard".parse().unwrap()
}

pub fn frame(sequence: u64, size: Size) -> Frame {
    Frame {
        stream: stream("gate"),
        rgb: Arc::new([]),
        size,
        source: size,
        pts_ns: Some(sequence * 40_000_000),
        captured_unix_ns: 1_700_000_000_000_000_000 + sequence,
        captured: Instant::now(),
        sequence,
        epoch: 2,
        quality: Quality::FULL,
    }
}

/// Instances from what `label` says about each pixel: 0 is none, `k` is instance `k`.
pub fn instances(size: Size, k: usize, label: impl Fn(u32, u32) -> u8) -> Vec<Instance> {
    let mut map = LabelMap::new(size);
    for (i, pixel) in map.labels.iter_mut().enumerate() {
        *pixel = label(i as u32 % size.width, i as u32 / size.width);
    }
    let with_id = |(i, e): (usize, maskd::mask::EncodedMask)| Instance {
        id: i as u32 + 1,
        age: 7,
        score: 0.5,
        bbox: e.bbox,
        area: e.area,
        mask: e.mask,
    };
    Rle::encode_labels(&map, k).into_iter().enumerate().map(with_id).collect()
}

/// Two boxes in a frame of 20 x 10.
pub fn two_boxes() -> Vec<Instance> {
    instances(Size::new(20, 10), 2, |x, y| match (x, y) {
        (2..=5, 3..=6) => 1,
        (10..=18, 1..=8) => 2,
        _ => 0,
    })
}

#[test]
fn a_bad_configuration_is_named() {
    let cases = [
        ("sight = \"x\"", "unknown field"),
        ("site = \"a/b\"", "site name \"a/b\""),
        ("encoding = \"xml\"", "xml"),
        ("max_message_bytes = 70000", "max_message_bytes: 70000"),
        ("mode = \"client\"", "connect"),
        ("mode = \"client\"\nconnect = [\"tcp/127.0.0.1:1\"]\nlisten = [\"tcp/127.0.0.1:2\"]", "cannot listen"),
        ("listen = [\"127.0.0.1:7447\"]", "listen: endpoint \"127.0.0.1:7447\""),
        ("connect = [\"ws/127.0.0.1:7447\"]", "protocol ws"),
    ];
    for (text, says) in cases {
        let error = match toml::from_str::<PublishConfig>(text) {
            Ok(config) => config.validate().unwrap_err().to_string(),
            Err(e) => e.to_string(),
        };
        assert!(error.contains(says), "{text}: {error}");
    }
    let config: PublishConfig = toml::from_str("").unwrap();
    assert_eq!(toml::from_str::<PublishConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_the_session_from_opening_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zenoh.json5");
    std::fs::write(&file, "{ mode: \"peer\", lisen: {} ").unwrap();
    let (first, _prompts, _, taken) = open(config()).await;
    for config in [
        PublishConfig { zenoh_config: Some(dir.path().join("absent.json5")), ..config() },
        PublishConfig { zenoh_config: Some(file), ..config() },
        PublishConfig { listen: Some(taken), ..config() },
    ] {
        let (requests, ..) = Requests::channel();
        let opened = ZenohPublisher::open(&config, "", "m", requests, Metrics::new(), &Heartbeats::default()).await;
        let error = opened.err().unwrap().to_string();
        assert!(error.starts_with("publish: ") && !error.contains('\n') && !error.contains(".rs:"), "{error}");
    }
    first.close().await;
}

pub fn config() -> PublishConfig {
    PublishConfig { site: site(), listen: Some(vec!["tcp/127.0.0.1:0".to_owned()]), ..PublishConfig::default() }
}

/// A daemon's publisher on a port of its own, its prompts, and where to connect to.
pub async fn open(config: PublishConfig) -> (Box<ZenohPublisher>, mpsc::Receiver<PromptRequest>, Metrics, Vec<String>) {
    let (metrics, (requests, prompts, _)) = (Metrics::new(), Requests::channel());
    let resolved = "[publish]\nsite = \"yard\"\n";
    let heartbeats = Heartbeats::default();
    let publisher = ZenohPublisher::open(&config, resolved, "dinov2-vits14", requests, metrics.clone(), &heartbeats);
    let publisher = Box::new(publisher.await.unwrap());
    let at = publisher.locators().await;
    assert_eq!(at.len(), 1, "{at:?}");
    (publisher, prompts, metrics, at)
}

/// The first thing received for which `pick` has something to say.
pub async fn until<T>(reader: &Reader, mut pick: impl FnMut(Received) -> Option<T>) -> T {
    let picked = async {
        loop {
            if let Some(picked) = pick(reader.next().await.unwrap()) {
                return picked;
            }
        }
    };
    timeout(WITHIN, picked).await.expect("not received in time")
}

pub fn masks(received: Received) -> Option<MasksMessage> {
    match received {
        Received::Masks { message, .. } => Some(message),
        _ => None,
    }
}

/// Publishes empty frames from sequence 0 until the reader has one: from then on nothing is lost. Returns the next sequence.
pub async fn meet(stream: &dyn StreamPublisher, reader: &Reader) -> u64 {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let met = async {
        for sequence in 0.. {
            tokio::select! {
                received = reader.next() => if masks(received.unwrap()).is_some() { return sequence },
                _ = tick.tick() => {}
            }
            stream.publish_masks(&frame(sequence, Size::new(20, 10)), false, vec![]).await.unwrap();
        }
        unreachable!()
    };
    timeout(WITHIN, met).await.expect("the reader was never reached")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_arrive_complete_and_in_order_in_both_formats() {
    for encoding in [Format::Json, Format::Cbor] {
        let (publisher, _prompts, _, at) = open(PublishConfig { encoding, ..config() }).await;
        let gate = publisher.stream(stream("gate")).await.unwrap();
        let reader = Reader::open(&at, None, None, None).await.unwrap();
        let start = meet(gate.as_ref(), &reader).await;
        for sequence in start..start + 30 {
            let published = gate.publish_masks(&frame(1000 + sequence, Size::new(20, 10)), true, two_boxes()).await;
            assert_eq!(published.unwrap().coarsened, None);
        }
        let mut numbers = Vec::new();
        while numbers.len() < 30 {
            let message = until(&reader, masks).await;
            if message.sequence < 1000 {
                continue;
            }
            assert_eq!((message.site, message.stream, message.epoch), (site(), stream("gate"), 2));
            assert_eq!((message.frame, &*message.model), (Size::new(20, 10), "dinov2-vits14"));
            assert_eq!(message.instances, two_boxes());
            assert_eq!(message.pts_ns, Some(message.sequence * 40_000_000));
            numbers.push((message.sequence - 1000, message.number));
        }
        let expected: Vec<_> = (start..start + 30).map(|n| n - start).map(|n| (start + n, numbers[0].1 + n)).collect();
        assert_eq!(numbers, expected);
        reader.close().await;
        publisher.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_answers_with_the_newest_message() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let asker = asker(&at).await;

    let nothing = get(&asker, "maskd/v1/yard/gate/masks", None).await.unwrap_err();
    assert_eq!(nothing, "nothing has been published here yet");
    for sequence in [4, 9] {
        gate.publish_masks(&frame(sequence, Size::new(20, 10)), true, two_boxes()).await.unwrap();
    }
    for selector in ["maskd/v1/yard/gate/masks", "maskd/v1/*/*/masks"] {
        let newest = get(&asker, selector, None).await.unwrap();
        let newest: MasksMessage = wire::decode(&newest, Format::Json, "masks").unwrap();
        assert_eq!((newest.sequence, newest.number, newest.instances), (9, 1, two_boxes()));
    }
    gate.publish_status(status()).unwrap();
    let newest = get(&asker, "maskd/v1/yard/gate/status", None).await.unwrap();
    assert_eq!(wire::decode::<StatusMessage>(&newest, Format::Json, "status").unwrap().status, status());
    let resolved = get(&asker, "maskd/v1/yard/config", None).await.unwrap();
    assert_eq!(resolved, b"[publish]\nsite = \"yard\"\n");
    asker.close().await.unwrap();
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_publishes_through_a_router() {
    let mut router = zenoh::Config::default();
    for (key, value) in [
        ("mode", r#""router""#),
        ("listen/endpoints", r#"["tcp/127.0.0.1:0"]"#),
        ("scouting/multicast/enabled", "false"),
    ] {
        router.insert_json5(key, value).unwrap();
    }
    let router = zenoh::open(router).await.unwrap();
    let at: Vec<String> = router.info().locators().await.iter().map(ToString::to_string).collect();
    let config = PublishConfig {
        mode: Mode::Client,
        listen: None,
        connect: at.clone(),
        site: site(),
        ..PublishConfig::default()
    };
    let (requests, mut prompts, _) = Requests::channel();
    let heartbeats = Heartbeats::default();
    let publisher = ZenohPublisher::open(&config, "", "m", requests, Metrics::new(), &heartbeats);
    let publisher = Box::new(publisher.await.unwrap());
    assert!(publisher.locators().await.is_empty(), "a client listens nowhere");
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let reader = Reader::open(&at, None, None, None).await.unwrap();
    meet(gate.as_ref(), &reader).await;
    tokio::spawn(async move { prompts.recv().await.unwrap().answer.accept() });
    assert_eq!(ask(&at, None, None, &stream("gate"), &Prompt::Reset, WITHIN).await.unwrap(), Answer::Accepted);
    reader.close().await;
    publisher.close().await;
    router.close().await.unwrap();
}

/// A plain zenoh session, as a stranger would open it.
pub async fn asker(at: &[String]) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("listen/endpoints", "[]".to_owned()),
        ("connect/endpoints", serde_json::to_string(at).unwrap()),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).await.unwrap()
}

/// The first reply: its payload, or the error's text. A session that was opened a moment ago may not yet know who answers,
/// and then has no reply at all: it asks again.
pub async fn get(asker: &zenoh::Session, selector: &str, payload: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let first = async {
        loop {
            let mut get = asker.get(selector).timeout(WITHIN);
            if let Some(payload) = payload {
                get = get.payload(payload).encoding(Encoding::ZENOH_BYTES);
            }
            if let Ok(reply) = get.await.unwrap().recv_async().await {
                break reply;
            }
            tokio::task::yield_now().await;
        }
    };
    match timeout(WITHIN, first).await.expect("no reply in time").into_result() {
        Ok(sample) => Ok(sample.payload().to_bytes().into_owned()),
        Err(error) => Err(error.payload().try_to_string().unwrap().into_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_status_reach_even_a_late_reader() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    gate.publish_status(status()).unwrap();
    gate.publish_event(2, Event::StreamUp).unwrap();
    let reader = Reader::open(&at, None, Some(&site()), Some(&stream("gate"))).await.unwrap();
    let (mut seen_status, mut seen_event) = (None, None);
    until(&reader, |received| {
        match received {
            Received::Status(message) => seen_status = Some(message),
            Received::Event(message) => seen_event = Some(message),
            _ => {}
        }
        (seen_status.is_some() && seen_event.is_some()).then_some(())
    })
    .await;
    assert_eq!(seen_status.unwrap().status, status());
    let event = seen_event.unwrap();
    assert_eq!((event.event, event.sequence, event.frame), (Event::StreamUp, 0, None));

    let ended = TrackEvent::Ended { id: 3, cause: EndCause::Lost };
    gate.publish_track_event(&frame(8, Size::new(20, 10)), ended.clone()).unwrap();
    let event = until(&reader, |r| if let Received::Event(e) = r { Some(e) } else { None }).await;
    assert_eq!((event.event, event.sequence, event.epoch), (Event::Instance(ended), 1, 2));
    assert_eq!(event.frame.unwrap().sequence, 8);
    reader.close().await;
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liveliness_comes_and_goes_with_daemon_and_stream() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let reader = Reader::open(&at, None, None, None).await.unwrap();
    let alive = |wanted: &'static str, now: bool| {
        move |r| match r {
            Received::Alive { key, stream, alive } if key == wanted && alive == now => Some(stream),
            _ => None,
        }
    };
    assert_eq!(until(&reader, alive("maskd/v1/yard/alive", true)).await, None);
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let who = until(&reader, alive("maskd/v1/yard/gate/alive", true)).await;
    assert_eq!(who, Some((site(), stream("gate"))));
    drop(gate);
    until(&reader, alive("maskd/v1/yard/gate/alive", false)).await;
    publisher.close().await;
    until(&reader, alive("maskd/v1/yard/alive", false)).await;
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_may_be_dropped_and_events_may_not() {
    let (publisher, _prompts, _, at) = open(PublishConfig { encoding: Format::Cbor, ..config() }).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let viewer = asker(&at).await;
    let samples = viewer.declare_subscriber("maskd/v1/yard/gate/*").await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut seen = std::collections::BTreeMap::new();
    let all_seen = async {
        while seen.len() < 3 {
            tokio::select! {
                sample = samples.recv_async() => {
                    let sample = sample.unwrap();
                    assert_eq!(*sample.encoding(), Encoding::APPLICATION_CBOR);
                    let topic = sample.key_expr().as_str().rsplit('/').next().unwrap().to_owned();
                    seen.insert(topic, (sample.congestion_control(), sample.priority()));
                }
                _ = tick.tick() => {
                    gate.publish_masks(&frame(0, Size::new(20, 10)), false, vec![]).await.unwrap();
                    gate.publish_event(0, Event::StreamUp).unwrap();
                    gate.publish_status(status()).unwrap();
                }
            }
        }
    };
    timeout(WITHIN, all_seen).await.expect("not received in time");
    assert_eq!(seen["masks"], (CongestionControl::Drop, Priority::DataHigh));
    assert_eq!(seen["events"], (CongestionControl::Block, Priority::Data));
    assert_eq!(seen["status"], (CongestionControl::Block, Priority::Data));
    viewer.close().await.unwrap();
    publisher.close().await;
}

/// Polls until `condition` holds.
pub async fn eventually(condition: impl Fn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let polled = async {
        while !condition() {
            tick.tick().await;
        }
    };
    timeout(WITHIN, polled).await.expect("never came true");
}

pub fn count(metrics: &Metrics, line: &str) -> u64 {
    let text = metrics.render();
    text.lines().find_map(|l| l.strip_prefix(line)).map_or(0, |n| n.trim().parse().unwrap())
}
