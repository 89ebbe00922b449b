//! Every frame is taken, waiting, or dropped for a cause; nobody starves, nobody waits for ever.

use std::thread;

use proptest::prelude::*;

use super::*;
use maskd_types::frame::Quality;

fn id(name: &str) -> StreamId {
    name.parse().unwrap()
}

/// A frame of one black pixel.
pub(crate) fn frame(stream: &StreamId, sequence: u64) -> Frame {
    let size = Size::new(1, 1);
    Frame {
        stream: stream.clone(),
        rgb: Arc::from([0, 0, 0]),
        size,
        source: size,
        pts_ns: None,
        captured_unix_ns: 0,
        captured: Instant::now(),
        sequence,
        epoch: 0,
        quality: Quality::FULL,
    }
}

const LONG: Duration = Duration::from_secs(30);

proptest! {
    #[test]
    fn every_frame_is_taken_superseded_stopped_or_waiting(
        steps in prop::collection::vec((0usize..5, 0usize..3), 1..80), batch in 1usize..4,
    ) {
        let metrics = Metrics::new();
        let mailbox = Mailbox::new(metrics.clone());
        let names = ["a", "b", "c"].map(id);
        let mut senders = names.each_ref().map(|name| mailbox.add_stream(name));
        let (mut offered, mut taken) = ([0u64; 3], [0u64; 3]);
        let mut newest = [None; 3];
        for (action, which) in steps {
            match action {
                0..=2 => {
                    metrics.frame_captured(&names[which]);
                    senders[which].offer(frame(&names[which], offered[which]));
                    newest[which] = Some(offered[which]);
                    offered[which] += 1;
                }
                3 => for got in mailbox.take_batch(batch) {
                    let which = names.iter().position(|name| *name == got.stream).unwrap();
                    prop_assert_eq!(newest[which].take(), Some(got.sequence));
                    metrics.frame_published(&got.stream);
                    taken[which] += 1;
                },
                _ => {
                    senders[which] = mailbox.add_stream(&names[which]);
                    newest[which] = None;
                }
            }
        }
        for (i, name) in names.iter().enumerate() {
            let account = metrics.account(name);
            prop_assert!(account.balances(), "{:?}", account);
            prop_assert_eq!((account.captured, account.published), (offered[i], taken[i]));
            prop_assert_eq!(account.in_flight, u64::from(newest[i].is_some()));
        }
    }

    #[test]
    fn nobody_starves(streams in 1usize..7, max in 1usize..4) {
        let mailbox = Mailbox::new(Metrics::new());
        let names: Vec<_> = (0..streams).map(|i| id(&format!("s{i}"))).collect();
        let senders: Vec<_> = names.iter().map(|name| mailbox.add_stream(name)).collect();
        let mut served = vec![0u32; streams];
        for round in 0..streams as u64 * 4 {
            for (name, sender) in names.iter().zip(&senders) {
                sender.offer(frame(name, round));
            }
            for got in mailbox.take_batch(max) {
                served[names.iter().position(|name| *name == got.stream).unwrap()] += 1;
            }
        }
        let (low, high) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        prop_assert!(high - low <= 1, "{:?}", served);
    }
}

#[test]
fn a_sender_waits_for_room_and_loses_nothing() {
    let (metrics, name) = (Metrics::new(), id("file"));
    let mailbox = Mailbox::new(metrics.clone());
    let sender = mailbox.add_stream(&name);
    let (stop, stream) = (CancellationToken::new(), name.clone());
    let sender_stop = stop.clone();
    let sender = thread::spawn(move || (0..200).filter(|i| sender.send(frame(&stream, *i), &sender_stop)).count());
    let mut got = Vec::new();
    while got.len() < 200 && mailbox.wait(&stop, LONG) {
        got.extend(mailbox.take_batch(4).into_iter().map(|frame| frame.sequence));
    }
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert_eq!(sender.join().unwrap(), 200);
    assert_eq!(metrics.account(&name).dropped(), 0);
}

#[test]
fn frames_above_the_rate_are_let_go_with_a_cause_of_their_own() {
    let (metrics, name) = (Metrics::new(), id("a"));
    let mailbox = Mailbox::new(metrics.clone());
    let sender = mailbox.add_stream(&name);
    let (start, mut taken) = (Instant::now(), Vec::new());
    mailbox.limit_rate(&name, Some(10.0));
    for sequence in 0..30 {
        metrics.frame_captured(&name);
        let captured = start + Duration::from_millis(sequence * 50);
        sender.offer(Frame { captured, ..frame(&name, sequence) });
        taken.extend(mailbox.take_batch(1).into_iter().map(|frame| frame.sequence));
    }
    assert_eq!(taken, (0..30).step_by(2).collect::<Vec<_>>());
    let arrived = Arrived { frames: 30, size: Some(Size::new(1, 1)), patient: false };
    assert_eq!(mailbox.arrived(), [(name.clone(), arrived)]);
    let account = metrics.account(&name);
    let dropped: Vec<_> = account.drops().filter(|(.., count)| *count > 0).collect();
    assert_eq!((dropped, account.balances()), (vec![(Stage::Ingest, DropCause::Paced, 15)], true));
    // What waits is never let go, and a slot that is added anew starts open.
    assert!(
        (30..33).all(|i| sender.send(frame(&name, i), &CancellationToken::new()) && !mailbox.take_batch(1).is_empty())
    );
    let sender = mailbox.add_stream(&name);
    assert!((0..3).all(|i| {
        sender.offer(frame(&name, i));
        !mailbox.take_batch(1).is_empty()
    }));
}

#[test]
fn stop_and_removal_wake_a_waiting_sender_and_a_waiting_engine() {
    for by_removal in [false, true] {
        let (metrics, name) = (Metrics::new(), id("file"));
        let mailbox = Mailbox::new(metrics.clone());
        let sender = mailbox.add_stream(&name);
        let stop = CancellationToken::new();
        assert!(sender.send(frame(&name, 0), &stop));
        let (stream, sender_stop) = (name.clone(), stop.clone());
        let sender = thread::spawn(move || sender.send(frame(&stream, 1), &sender_stop));
        if by_removal {
            mailbox.remove_stream(&name);
        } else {
            stop.cancel();
        }
        assert!(!sender.join().unwrap());
        let dropped: Vec<_> = metrics.account(&name).drops().filter(|(.., count)| *count > 0).collect();
        assert_eq!(dropped, [(Stage::Ingest, DropCause::Stopping, 1 + u64::from(by_removal))]);
    }
    let (mailbox, stop) = (Mailbox::new(Metrics::new()), CancellationToken::new());
    let (waiting, waiting_stop) = (mailbox.clone(), stop.clone());
    let engine = thread::spawn(move || waiting.wait(&waiting_stop, LONG));
    stop.cancel();
    assert!(!engine.join().unwrap());
}
