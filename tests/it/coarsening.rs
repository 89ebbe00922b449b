//! The size rule, and that pycocotools reads whatever comes of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use std::{process::Command, time::Duration};

use maskd::{
    frame::Size,
    heartbeat::Heartbeats,
    instance::Instance,
    metrics::Metrics,
    publish::{
        PublishConfig, PublishError, Publisher as _, Reader, Requests, ZenohPublisher,
        coarsen::FitError,
        wire::{self, Format},
    },
};

use crate::{
    publish::{config, count, frame, instances, masks, meet, open, stream, two_boxes, until},
    skip::skip,
};

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
        let start = meet(gate.as_ref(), &reader).await;
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
async fn a_message_that_cannot_be_made_small_is_an_error() {
    let config = PublishConfig { max_message_bytes: 1024, ..config() };
    let (requests, ..) = Requests::channel();
    let model = "m".repeat(2000);
    let heartbeats = Heartbeats::default();
    let publisher = ZenohPublisher::open(&config, "", &model, requests, Metrics::new(), &heartbeats);
    let publisher = Box::new(publisher.await.unwrap());
    let gate = publisher.stream(stream("gate")).await.unwrap();
    let error = gate.publish_masks(&frame(0, Size::new(20, 10)), true, two_boxes()).await.unwrap_err();
    assert!(matches!(error, PublishError::Fit(FitError::TooLarge { limit: 1024, .. })), "{error}");
    publisher.close().await;
}

/// eclipse-zenoh and pycocotools read what we write. `MASKD_PYTHON` names an interpreter that has both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_subscriber_decodes_every_mask() {
    let python = std::env::var("MASKD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_both = Command::new(&python).args(["-c", "import zenoh, pycocotools.mask"]).output();
    if !has_both.is_ok_and(|o| o.status.success()) {
        return skip(&format!("{python} lacks eclipse-zenoh or pycocotools (set MASKD_PYTHON)"));
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
