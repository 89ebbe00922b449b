//! The messages as bytes: what subscribers are promised, and what strangers may send.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use maskd::{
    frame::{Quality, Size},
    instance::{EndCause, Origin, Prompt, TrackEvent},
    metrics::{DropCause, Stage},
    publish::wire::{
        self, Account, Event, EventMessage, Format, FrameRef, MAX_MESSAGE_BYTES, MAX_PROMPT_BYTES, MasksMessage, State,
        Status, StatusMessage, WireError,
    },
};
use proptest::prelude::*;

use crate::publish::{frame, site, stream, two_boxes};

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

pub fn status() -> Status {
    Status {
        state: State::Reconnecting,
        reason: Some("connection refused".to_owned()),
        fps: 12.5,
        account: Account {
            captured: 12,
            published: 7,
            dropped: wire::drops([
                (Stage::Ingest, DropCause::Superseded, 2),
                (Stage::Track, DropCause::EngineFailed, 1),
                (Stage::Publish, DropCause::PublishFailed, 0),
            ]),
            in_flight: 2,
        },
        quality: Quality { level: 0.75, rate: Some(2.5) },
        decoder: None,
        epoch: 3,
        uptime_s: 60.25,
    }
}

#[test]
fn every_message_reads_back_as_written_in_both_formats() {
    let ended = Event::Instance(TrackEvent::Ended { id: 9, cause: EndCause::SceneCut });
    let appeared = Event::Instance(TrackEvent::Appeared { id: 9, origin: Origin::Prompt });
    let refused = Event::FirstMaskRefused { cause: "it marks nothing".to_owned() };
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
        for event in
            [Event::StreamUp, Event::StreamEnded, refused.clone(), down.clone(), ended.clone(), appeared.clone()]
        {
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
    insta::assert_snapshot!(text(wire::encode(&masks_message(), Format::Json).unwrap()), @r#"{"version":1,"site":"yard","stream":"gate","sequence":5,"number":3,"epoch":2,"pts_ns":200000000,"captured_unix_ns":1700000000000000005,"published_unix_ns":1700000000000000099,"model":"dinov2-vits14","frame":{"width":20,"height":10},"discovered":true,"quality":{"level":1.0},"instances":[{"id":1,"age":7,"score":0.5,"bbox":{"x":2,"y":3,"width":4,"height":4},"area":16,"mask":{"size":[10,20],"counts":"g04600000Y4"}},{"id":2,"age":7,"score":0.5,"bbox":{"x":10,"y":1,"width":9,"height":8},"area":72,"mask":{"size":[10,20],"counts":"U3820000000000000009"}}]}"#);
    let event = event_message(Event::Instance(TrackEvent::Appeared { id: 9, origin: Origin::Discovered }));
    insta::assert_snapshot!(text(wire::encode(&event, Format::Json).unwrap()), @r#"{"version":1,"site":"yard","stream":"gate","sequence":4,"epoch":2,"published_unix_ns":18446744073709551615,"frame":{"sequence":5,"pts_ns":200000000,"captured_unix_ns":1700000000000000005},"event":"appeared","id":9,"origin":"discovered"}"#);
    insta::assert_snapshot!(text(wire::encode(&status(), Format::Json).unwrap()), @r#"{"state":"reconnecting","reason":"connection refused","fps":12.5,"captured":12,"published":7,"dropped":{"ingest":{"superseded":2},"track":{"engine_failed":1}},"in_flight":2,"quality":{"level":0.75,"rate":2.5},"decoder":null,"epoch":3,"uptime_s":60.25}"#);
}

#[test]
fn an_account_balances_or_not_whatever_a_stranger_claims() {
    let account = status().account;
    assert!(account.balances());
    assert!(!Account { in_flight: 3, ..account.clone() }.balances());
    assert!(!Account { published: u64::MAX, ..account.clone() }.balances());
    let absurd = [("a".to_owned(), [("b".to_owned(), u64::MAX), ("c".to_owned(), u64::MAX)].into())].into();
    assert!(!Account { dropped: absurd, ..account }.balances());
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
fn what_is_too_large_is_not_even_looked_at() {
    for format in [Format::Json, Format::Cbor] {
        let error = wire::decode::<MasksMessage>(&vec![b' '; MAX_MESSAGE_BYTES + 1], format, "masks").unwrap_err();
        assert_eq!(error, WireError::TooLarge { bytes: MAX_MESSAGE_BYTES + 1, limit: MAX_MESSAGE_BYTES });
        let error = wire::decode_prompt(&vec![b' '; MAX_PROMPT_BYTES + 1], format).unwrap_err();
        assert_eq!(error, WireError::TooLarge { bytes: MAX_PROMPT_BYTES + 1, limit: MAX_PROMPT_BYTES });
    }
}

#[test]
fn nested_cbor_does_not_use_up_the_stack() {
    assert!(wire::decode_prompt(&vec![0x81; MAX_PROMPT_BYTES], Format::Cbor).is_err());
    assert!(wire::decode::<MasksMessage>(&vec![0xa1; 300_000], Format::Cbor, "masks").is_err());
}
