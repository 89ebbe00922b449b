//! Subscribers that are slow or stop reading, beside one that is well.

use std::time::Duration;

use maskd::publish::wire::unix_ns;

use super::{
    fault::{Fault, Scale},
    held::{Held, grown_mb},
    helper::{Helper, Role},
    outcome::Outcome,
    post::{Plan, Post},
};

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "reader-stops",
        what: "another subscriber's process stands still for 8 s, its connection open and its socket full",
        run: stops,
    },
    Fault {
        name: "reader-is-slow",
        what: "for 5 s another subscriber takes 0.5 s for each message, its queue and its socket full",
        run: slow,
    },
];

const CALM: Duration = Duration::from_secs(2);
/// What a subscriber that does not read may cost.
const MOST_MB: f64 = 8.0;

/// Sockets so small that the sender feels a reader who stops in a second, not in a minute.
fn post(scale: Scale) -> (Post, String) {
    let plan = Plan::new(1 + scale.others);
    let listen = Some(format!("{}#so_sndbuf=4608;so_rcvbuf=4608", plan.endpoint));
    let theirs = format!("{}#so_sndbuf=4608;so_rcvbuf=4608", plan.endpoint);
    (Post::start(Plan { listen, ..plan }), theirs)
}

fn stops(scale: Scale) -> Vec<Outcome> {
    let (post, theirs) = post(scale);
    let reader = Helper::start(Role::Reader, &theirs);
    let once = |_| {
        reader.reads_past(unix_ns());
        post.well();
        let (calm, books) = (unix_ns(), post.books());
        post.pass(CALM);
        let (held, start) = (Held::of(post.admin), unix_ns());
        let before = post.latencies(calm);
        reader.signal("STOP");
        post.pass(Duration::from_secs(8));
        let during = post.latencies(start);
        let grown = grown_mb(held.heap_bytes, Held::of(post.admin).heap_bytes);
        assert!(grown < MOST_MB, "{grown} MB for somebody who does not read");
        reader.signal("CONT");
        let end = unix_ns();
        reader.reads_past(end);
        // The other one missed nothing: the numbers have no gap.
        post.watch.since(super::post::JUDGED, calm);
        post.well();
        post.no_bugs();
        Outcome {
            recovery: Some(Duration::from_nanos(unix_ns() - end)),
            dropped: post.books().dropped().unwrap() - books.dropped().unwrap(),
            before,
            during,
            ..Outcome::default()
        }
    };
    (0..scale.repeats).map(once).collect()
}

fn slow(scale: Scale) -> Vec<Outcome> {
    let (post, theirs) = post(scale);
    let once = |_| {
        post.well();
        let (calm, books) = (unix_ns(), post.books());
        post.pass(CALM);
        let (held, start) = (Held::of(post.admin), unix_ns());
        let before = post.latencies(calm);
        let reader = Helper::start(Role::SlowReader, &theirs);
        post.pass(Duration::from_secs(5));
        let during = post.latencies(start);
        let grown = grown_mb(held.heap_bytes, Held::of(post.admin).heap_bytes);
        assert!(grown < MOST_MB, "{grown} MB for somebody who is slow");
        post.watch.since(super::post::JUDGED, calm);
        drop(reader);
        post.no_bugs();
        let dropped = post.books().dropped().unwrap() - books.dropped().unwrap();
        Outcome { dropped, before, during, ..Outcome::default() }
    };
    (0..scale.repeats).map(once).collect()
}

#[test]
fn a_subscriber_that_stops_reading_delays_nobody() {
    (FAULTS[0].run)(Scale::TEST);
}

#[test]
fn a_subscriber_that_is_slow_delays_nobody() {
    (FAULTS[1].run)(Scale::TEST);
}
