//! Messages out and prompts in, over real zenoh sessions on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use maskd::{
    frame::{Frame, Size, StreamId},
    instance::{BBox, EndCause, Instance, Origin, Prompt, TrackEvent},
    mask::{LabelMap, Rle},
    metrics::{DropCause, Metrics, Stage},
    publish::{
        Answer, PromptRequest, PublishConfig, PublishError, Publisher, Reader, Received, StreamPublisher, ask,
        keys::Site,
        wire::{
            self, Event, EventMessage, Format, FrameRef, MAX_PROMPT_BYTES, MasksMessage, State, Status, StatusMessage,
        },
    },
};
use proptest::prelude::*;
use tokio::{sync::mpsc, time::timeout};
use zenoh::bytes::Encoding;

const WITHIN: Duration = Duration::from_secs(30);

fn stream(name: &str) -> StreamId {
    name.parse().unwrap()
}

fn site() -> Site {
    "yard".parse().unwrap()
}

fn frame(sequence: u64, size: Size) -> Frame {
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
    }
}

/// Instances from what `label` says about each pixel: 0 is none, `k` is instance `k`.
fn instances(size: Size, k: usize, label: impl Fn(u32, u32) -> u8) -> Vec<Instance> {
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
fn two_boxes() -> Vec<Instance> {
    instances(Size::new(20, 10), 2, |x, y| match (x, y) {
        (2..=5, 3..=6) => 1,
        (10..=18, 1..=8) => 2,
        _ => 0,
    })
}

fn masks_message() -> MasksMessage {
    let mut message = MasksMessage::new(&site(), "dinov2-vits14", 3, &frame(5, Size::new(20, 10)), true, two_boxes());
    message.published_unix_ns = 1_700_000_000_000_000_099;
    message
}

fn event_message(event: Event) -> EventMessage {
    EventMessage {
        version: wire::VERSION,
        site: site(),
        stream: stream("gate"),
        sequence: 4,
        epoch: 2,
        published_unix_ns: u64::MAX,
        frame: Some(FrameRef::from(&frame(5, Size::new(20, 10)))),
        event,
    }
}

fn status() -> Status {
    Status {
        state: State::Reconnecting,
        reason: Some("connection refused".to_owned()),
        fps: 12.5,
        captured: 10,
        published: 7,
        dropped: wire::drops([
            (Stage::Ingest, DropCause::Superseded, 2),
            (Stage::Track, DropCause::EngineFailed, 1),
            (Stage::Publish, DropCause::PublishFailed, 0),
        ]),
        decoder: None,
        epoch: 3,
        uptime_s: 60.25,
    }
}

#[test]
fn every_message_reads_back_as_written_in_both_formats() {
    let ended = Event::Instance(TrackEvent::Ended { id: 9, cause: EndCause::SceneCut });
    let appeared = Event::Instance(TrackEvent::Appeared { id: 9, origin: Origin::Prompt });
    let down = Event::StreamDown { cause: "stall".to_owned() };
    let status = StatusMessage {
        version: wire::VERSION,
        site: site(),
        stream: stream("gate"),
        sequence: u64::MAX,
        published_unix_ns: 1,
        status: status(),
    };
    for format in [Format::Json, Format::Cbor] {
        let bytes = wire::encode(&masks_message(), format).unwrap();
        assert_eq!(wire::decode::<MasksMessage>(&bytes, format, "masks").unwrap(), masks_message());
        for event in [Event::StreamUp, Event::StreamEnded, down.clone(), ended.clone(), appeared.clone()] {
            let message = event_message(event);
            let bytes = wire::encode(&message, format).unwrap();
            assert_eq!(wire::decode::<EventMessage>(&bytes, format, "event").unwrap(), message);
        }
        let bytes = wire::encode(&status, format).unwrap();
        assert_eq!(wire::decode::<StatusMessage>(&bytes, format, "status").unwrap(), status);
        let from_json = wire::to_json_line(&bytes, format).unwrap();
        assert_eq!(wire::decode::<StatusMessage>(from_json.as_bytes(), Format::Json, "status").unwrap(), status);
    }
}

#[test]
fn messages_look_as_documented() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    insta::assert_snapshot!(text(wire::encode(&masks_message(), Format::Json).unwrap()), @r#"{"version":1,"site":"yard","stream":"gate","sequence":5,"number":3,"epoch":2,"pts_ns":200000000,"captured_unix_ns":1700000000000000005,"published_unix_ns":1700000000000000099,"model":"dinov2-vits14","frame":{"width":20,"height":10},"discovered":true,"instances":[{"id":1,"age":7,"score":0.5,"bbox":{"x":2,"y":3,"width":4,"height":4},"area":16,"mask":{"size":[10,20],"counts":"g04600000Y4"}},{"id":2,"age":7,"score":0.5,"bbox":{"x":10,"y":1,"width":9,"height":8},"area":72,"mask":{"size":[10,20],"counts":"U3820000000000000009"}}]}"#);
    let event = event_message(Event::Instance(TrackEvent::Appeared { id: 9, origin: Origin::Discovered }));
    insta::assert_snapshot!(text(wire::encode(&event, Format::Json).unwrap()), @r#"{"version":1,"site":"yard","stream":"gate","sequence":4,"epoch":2,"published_unix_ns":18446744073709551615,"frame":{"sequence":5,"pts_ns":200000000,"captured_unix_ns":1700000000000000005},"event":"appeared","id":9,"origin":"discovered"}"#);
    insta::assert_snapshot!(text(wire::encode(&status(), Format::Json).unwrap()), @r#"{"state":"reconnecting","reason":"connection refused","fps":12.5,"captured":10,"published":7,"dropped":{"ingest":{"superseded":2},"track":{"engine_failed":1}},"decoder":null,"epoch":3,"uptime_s":60.25}"#);
}

#[test]
fn readers_ignore_new_fields_and_name_a_new_version() {
    for format in [Format::Json, Format::Cbor] {
        let mut value = serde_json::to_value(masks_message()).unwrap();
        value["colour"] = "red".into();
        value["instances"][0]["depth"] = 3.into();
        let bytes = wire::encode(&value, format).unwrap();
        assert_eq!(wire::decode::<MasksMessage>(&bytes, format, "masks").unwrap(), masks_message());
        let bytes = wire::encode(&serde_json::json!({"version": 2, "boxes": []}), format).unwrap();
        let error = wire::decode::<MasksMessage>(&bytes, format, "masks").unwrap_err().to_string();
        assert_eq!(error, "message version 2 is not 1: update this maskd");
    }
}

#[test]
fn prompts_hold_nothing_but_their_fields() {
    let ok = [r#"{"kind":"reset"}"#, r#"{"kind":"points","positive":[[1,2]]}"#];
    ok.iter().for_each(|p| drop(wire::decode_prompt(p.as_bytes(), Format::Json).unwrap()));
    let bad = [
        "",
        "hello",
        "[]",
        "{}",
        r#"{"kind":"dance"}"#,
        r#"{"kind":"reset","hard":true}"#,
        r#"{"kind":"box","bbox":{"x":1,"y":1,"width":-1,"height":2}}"#,
        r#"{"kind":"box","bbox":{"x":1,"y":1,"width":1,"height":2,"depth":3}}"#,
        r#"{"kind":"points"}"#,
        r#"{"kind":"reset"} {"kind":"reset"}"#,
    ];
    for bad in bad {
        let error = wire::decode_prompt(bad.as_bytes(), Format::Json).unwrap_err().to_string();
        assert!(error.starts_with("not a prompt: ") && !error.contains('\n'), "{bad}: {error}");
    }
    let mut twice = wire::encode(&Prompt::Reset, Format::Cbor).unwrap();
    twice.push(0);
    assert!(wire::decode_prompt(&twice, Format::Cbor).is_err());
}

proptest! {
    #[test]
    fn hostile_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..400), cbor in any::<bool>()) {
        let format = if cbor { Format::Cbor } else { Format::Json };
        prop_assert!(wire::decode::<MasksMessage>(&bytes, format, "masks").is_err());
        prop_assert!(wire::decode::<EventMessage>(&bytes, format, "event").is_err());
        prop_assert!(wire::decode_prompt(&bytes, format).is_err());
        let _ = wire::to_json_line(&bytes, format);
    }

    #[test]
    fn damaged_messages_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cbor in any::<bool>()) {
        let format = if cbor { Format::Cbor } else { Format::Json };
        let mut bytes = wire::encode(&masks_message(), format).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = wire::decode::<MasksMessage>(&bytes, format, "masks");
        prop_assert!(wire::decode::<MasksMessage>(&bytes[..at], format, "masks").is_err());
    }
}

#[test]
fn nested_cbor_does_not_use_up_the_stack() {
    assert!(wire::decode_prompt(&vec![0x81; MAX_PROMPT_BYTES], Format::Cbor).is_err());
    assert!(wire::decode::<MasksMessage>(&vec![0xa1; 300_000], Format::Cbor, "masks").is_err());
}

#[test]
fn a_bad_configuration_is_named() {
    let cases = [
        ("sight = \"x\"", "unknown field"),
        ("site = \"a/b\"", "site name \"a/b\""),
        ("encoding = \"xml\"", "xml"),
        ("max_message_bytes = 70000", "max_message_bytes = 70000"),
        ("mode = \"client\"", "connect"),
        ("mode = \"client\"\nconnect = [\"tcp/127.0.0.1:1\"]\nlisten = [\"tcp/127.0.0.1:2\"]", "cannot listen"),
        ("listen = [\"127.0.0.1:7447\"]", "listen endpoint \"127.0.0.1:7447\""),
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
        let error = Publisher::open(&config, "", "m", Metrics::new()).await.err().unwrap().to_string();
        assert!(error.starts_with("publish: ") && !error.contains('\n') && !error.contains(".rs:"), "{error}");
    }
    first.close().await;
}

fn config() -> PublishConfig {
    PublishConfig { site: site(), listen: Some(vec!["tcp/127.0.0.1:0".to_owned()]), ..PublishConfig::default() }
}

/// A daemon's publisher on a port of its own, its prompts, and where to connect to.
async fn open(config: PublishConfig) -> (Publisher, mpsc::Receiver<PromptRequest>, Metrics, Vec<String>) {
    let metrics = Metrics::new();
    let (publisher, prompts) =
        Publisher::open(&config, "[publish]\nsite = \"yard\"\n", "dinov2-vits14", metrics.clone()).await.unwrap();
    let at = publisher.locators().await;
    assert_eq!(at.len(), 1, "{at:?}");
    (publisher, prompts, metrics, at)
}

/// The first thing received for which `pick` has something to say.
async fn until<T>(reader: &Reader, mut pick: impl FnMut(Received) -> Option<T>) -> T {
    let picked = async {
        loop {
            if let Some(picked) = pick(reader.next().await.unwrap()) {
                return picked;
            }
        }
    };
    timeout(WITHIN, picked).await.expect("not received in time")
}

fn masks(received: Received) -> Option<MasksMessage> {
    match received {
        Received::Masks { message, .. } => Some(message),
        _ => None,
    }
}

/// Publishes empty frames from sequence 0 until the reader has one: from then on nothing is lost. Returns the next sequence.
async fn meet(stream: &StreamPublisher, reader: &Reader) -> u64 {
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
        let start = meet(&gate, &reader).await;
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

/// A plain zenoh session, as a stranger would open it.
async fn asker(at: &[String]) -> zenoh::Session {
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

/// The first reply: its payload, or the error's text.
async fn get(asker: &zenoh::Session, selector: &str, payload: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let mut get = asker.get(selector).timeout(WITHIN);
    if let Some(payload) = payload {
        get = get.payload(payload).encoding(Encoding::ZENOH_BYTES);
    }
    let replies = get.await.unwrap();
    let reply = timeout(WITHIN, replies.recv_async()).await.expect("no reply in time").expect("no reply at all");
    match reply.into_result() {
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
async fn previews_are_wanted_only_while_somebody_looks() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    assert!(!gate.wants_preview());
    let viewer = asker(&at).await;
    let subscriber = viewer.declare_subscriber("maskd/v1/*/gate/preview").await.unwrap();
    eventually(|| gate.wants_preview()).await;
    gate.publish_preview(vec![0xff, 0xd8, 0xff]).await.unwrap();
    let sample = timeout(WITHIN, subscriber.recv_async()).await.unwrap().unwrap();
    assert_eq!((&*sample.payload().to_bytes(), sample.encoding()), (&[0xff, 0xd8, 0xff][..], &Encoding::IMAGE_JPEG));
    subscriber.undeclare().await.unwrap();
    eventually(|| !gate.wants_preview()).await;
    viewer.close().await.unwrap();
    publisher.close().await;
}

/// Polls until `condition` holds.
async fn eventually(condition: impl Fn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let polled = async {
        while !condition() {
            tick.tick().await;
        }
    };
    timeout(WITHIN, polled).await.expect("never came true");
}

fn count(metrics: &Metrics, line: &str) -> u64 {
    let text = metrics.render();
    text.lines().find_map(|l| l.strip_prefix(line)).map_or(0, |n| n.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_are_taken_refused_and_counted() {
    let (publisher, mut prompts, metrics, at) = open(config()).await;
    let _gate = publisher.stream(stream("gate")).await.unwrap();
    let key = "maskd/v1/yard/gate/prompt";
    let outcomes = |outcome| count(&metrics, &format!("maskd_prompts_total{{stream=\"gate\",cause=\"{outcome}\"}}"));

    // The engine's side: boxes of width 1 are refused, all else is taken.
    let engine = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(PromptRequest { stream, prompt, answer }) = prompts.recv().await {
            match prompt {
                Prompt::Box { bbox: BBox { width: 1, .. } } => answer.refuse("the box is too\nnarrow"),
                _ => answer.accept(),
            }
            taken.push((stream, prompt));
        }
        taken
    });
    let narrow = Prompt::Box { bbox: BBox { x: 1, y: 1, width: 1, height: 5 } };
    let points = Prompt::Points { positive: vec![[3, 4]], negative: vec![] };
    for (prompt, expected) in
        [(&points, Answer::Accepted), (&narrow, Answer::Refused("the box is too narrow".to_owned()))]
    {
        for site in [None, Some(site())] {
            assert_eq!(ask(&at, None, site.as_ref(), &stream("gate"), prompt, WITHIN).await.unwrap(), expected);
        }
    }
    let asker = asker(&at).await;
    let cbor = wire::encode(&points, Format::Cbor).unwrap();
    assert_eq!(get(&asker, key, Some(&cbor)).await.unwrap(), br#"{"accepted":true}"#);
    assert_eq!(outcomes("accepted"), 3);

    let large = vec![b' '; MAX_PROMPT_BYTES + 1];
    let refusals: [(&str, Option<&[u8]>, &str); 5] = [
        (key, None, "a prompt needs a payload"),
        (key, Some(b"hello"), "prompt refused: not a prompt: "),
        (key, Some(br#"{"kind":"reset","hard":true}"#), "prompt refused: not a prompt: unknown field `hard`"),
        (key, Some(&large), "prompt refused: 262145 bytes are more than the 262144 allowed"),
        ("maskd/v1/yard/*/prompt", Some(br#"{"kind":"reset"}"#), "a prompt is for one stream"),
    ];
    for (selector, payload, says) in refusals {
        let error = get(&asker, selector, payload).await.unwrap_err();
        assert!(error.starts_with(says) && !error.contains('\n'), "{error}");
    }
    assert_eq!(outcomes("refused"), 7);

    // A plain put does as well; nobody waits, so only the counters tell.
    asker.put(key, r#"{"kind":"reset"}"#).await.unwrap();
    asker.put(key, "nonsense").await.unwrap();
    eventually(|| (outcomes("accepted"), outcomes("refused")) == (4, 8)).await;

    asker.close().await.unwrap();
    drop(_gate);
    publisher.close().await;
    let taken = timeout(WITHIN, engine).await.expect("the prompts end with the session").unwrap();
    assert_eq!(taken.len(), 6);
    assert_eq!(taken[5], (stream("gate"), Prompt::Reset));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_cannot_wait_is_told_busy() {
    let (publisher, mut prompts, metrics, at) = open(config()).await;
    let _gate = publisher.stream(stream("gate")).await.unwrap();
    let asker = asker(&at).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..17 {
        let asker = asker.clone();
        asked.spawn(async move { get(&asker, "maskd/v1/yard/gate/prompt", Some(br#"{"kind":"reset"}"#)).await });
    }
    let first = timeout(WITHIN, asked.join_next()).await.unwrap().unwrap().unwrap();
    assert!(first.unwrap_err().starts_with("busy: 16 prompts are waiting"));
    assert_eq!(count(&metrics, "maskd_prompts_total{stream=\"gate\",cause=\"busy\"}"), 1);
    for _ in 0..16 {
        prompts.recv().await.unwrap().answer.accept();
    }
    while let Some(answer) = timeout(WITHIN, asked.join_next()).await.unwrap() {
        assert_eq!(answer.unwrap().unwrap(), br#"{"accepted":true}"#);
    }
    asker.close().await.unwrap();
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_for_a_stream_that_is_not_there() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let answer = ask(&at, None, None, &stream("porch"), &Prompt::Reset, Duration::from_secs(1)).await.unwrap();
    assert_eq!(answer, Answer::Nobody);
    publisher.close().await;
}

/// `k` discs side by side in rows whose rims are ragged, so that they need many bytes.
fn ragged_discs(size: Size, k: u32) -> Vec<Instance> {
    let columns = 6;
    let pitch = size.width / columns;
    instances(size, k as usize, |x, y| {
        let cell = (y / pitch) * columns + x / pitch;
        let (dx, dy) = ((x % pitch) as f32 - pitch as f32 / 2.0, (y % pitch) as f32 - pitch as f32 / 2.0);
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)).wrapping_mul(3_266_489_917) >> 24;
        // Discs differ in size, so that there is a smallest.
        let radius = pitch as f32 * (0.3 + 0.1 * cell as f32 / k as f32);
        if cell < k && dx.hypot(dy) < radius + 6.0 * (noise as f32 / 128.0 - 1.0) { cell as u8 + 1 } else { 0 }
    })
}

fn iou(a: &[bool], b: &[bool]) -> f64 {
    let both = a.iter().zip(b).filter(|(a, b)| **a && **b).count();
    let any = a.iter().zip(b).filter(|(a, b)| **a || **b).count();
    both as f64 / any as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masks_too_large_for_a_message_are_coarsened() {
    let size = Size::new(960, 540);
    let original = ragged_discs(size, 18);
    let full = wire::encode(&original, Format::Json).unwrap().len();
    for (limit, at_most_omitted) in [(full * 2 / 3, 0), (full / 20, 17)] {
        let (publisher, _prompts, metrics, at) = open(PublishConfig { max_message_bytes: limit, ..config() }).await;
        let gate = publisher.stream(stream("gate")).await.unwrap();
        let reader = Reader::open(&at, None, None, None).await.unwrap();
        let start = meet(&gate, &reader).await;
        let published = gate.publish_masks(&frame(start, size), false, original.clone()).await.unwrap();
        let message = until(&reader, |r| masks(r).filter(|m| m.sequence == start)).await;
        assert!(published.bytes <= limit);
        assert_eq!((published.coarsened, published.omitted), (message.coarsened, message.omitted));
        assert!(message.coarsened.is_some_and(|f| [2, 4, 8].contains(&f)), "{:?}", message.coarsened);
        assert_eq!(count(&metrics, "maskd_messages_coarsened_total{stream=\"gate\"}"), 1);

        assert!(message.omitted <= at_most_omitted && (message.omitted > 0) == (at_most_omitted > 0), "{published:?}");
        assert_eq!(message.instances.len() + message.omitted as usize, original.len());
        let smallest_kept = message.instances.iter().map(|i| i.area).min().unwrap();
        for i in &original {
            let Some(kept) = message.instances.iter().find(|kept| kept.id == i.id) else {
                assert!(i.area < smallest_kept + 500, "a larger instance was left out");
                continue;
            };
            let (coarse, fine) = (kept.mask.decode(Some(size)).unwrap(), i.mask.decode(Some(size)).unwrap());
            assert_eq!(coarse.iter().filter(|on| **on).count() as u64, kept.area);
            assert!(iou(&coarse, &fine) > 0.85, "#{}: {}", i.id, iou(&coarse, &fine));
        }
        reader.close().await;
        publisher.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_made_small_is_an_error_and_takes_no_number() {
    let config = PublishConfig { max_message_bytes: 1024, ..config() };
    let (publisher, _prompts) = Publisher::open(&config, "", &"m".repeat(2000), Metrics::new()).await.unwrap();
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let error = gate.publish_masks(&frame(0, Size::new(20, 10)), true, two_boxes()).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { limit: 1024, .. }), "{error}");
    publisher.close().await;
}

/// eclipse-zenoh and pycocotools read what we write. `MASKD_PYTHON` names an interpreter that has both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_subscriber_decodes_every_mask() {
    let python = std::env::var("MASKD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_both = Command::new(&python).args(["-c", "import zenoh, pycocotools.mask"]).output();
    if !has_both.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED a_python_subscriber_decodes_every_mask: {python} lacks eclipse-zenoh or pycocotools");
        return;
    }
    let (publisher, _prompts, _, at) = open(PublishConfig { max_message_bytes: 10_000, ..config() }).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/subscriber.py");
    let args = ["--connect", &at[0], "--stream", "gate", "--count", "20", "--timeout", "30"];
    let mut subscriber = Command::new(python);
    subscriber.arg(script).args(args);
    let subscriber = tokio::task::spawn_blocking(move || subscriber.output().unwrap());
    let size = Size::new(960, 540);
    // Whole, coarsened, and empty ones.
    let kinds = [ragged_discs(size, 3), ragged_discs(size, 18), vec![]];
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for sequence in 0.. {
        if subscriber.is_finished() {
            break;
        }
        tick.tick().await;
        gate.publish_masks(&frame(sequence, size), true, kinds[sequence as usize % 3].clone()).await.unwrap();
    }
    let output = subscriber.await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let summary: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&summary["messages"], &summary["violations"]), (&20.into(), &0.into()), "{out}");
    assert!(summary["masks"].as_u64() > Some(50) && summary["coarsened"].as_u64() > Some(3), "{out}");
    publisher.close().await;
}
