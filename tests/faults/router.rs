//! The zenoh router between the daemon and its subscribers dies and returns, or stands still.

use std::time::Duration;

use maskd::publish::wire::unix_ns;

use super::{
    fault::{Fault, Scale},
    helper::{Helper, Role},
    outcome::Outcome,
    post::{JUDGED, Plan, Post},
    support::process::free_port,
};

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "router-dies",
        what: "the zenoh router between daemon and subscriber is killed, and started again after 2 s",
        run: |scale| run(scale, Duration::from_secs(2), dies),
    },
    Fault {
        name: "router-hangs",
        what: "the zenoh router stands still for 3 s, its connections open",
        run: |scale| run(scale, Duration::from_secs(3), hangs),
    },
];

/// Has a router gone for a while, and returns the one that is there then.
type Break = fn(Helper, &Post, &str, Duration) -> Helper;

fn dies(router: Helper, post: &Post, endpoint: &str, lasts: Duration) -> Helper {
    drop(router);
    post.pass(lasts);
    Helper::start(Role::Router, endpoint)
}

fn hangs(router: Helper, post: &Post, _: &str, lasts: Duration) -> Helper {
    router.signal("STOP");
    post.pass(lasts);
    router.signal("CONT");
    router
}

fn run(scale: Scale, lasts: Duration, fault: Break) -> Vec<Outcome> {
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let mut router = Some(Helper::start(Role::Router, &endpoint));
    let post = Post::start(Plan {
        listen: None,
        endpoint: endpoint.clone(),
        publish: format!("mode = 'client'\nconnect = ['{endpoint}']"),
        ..Plan::new(1 + scale.others.min(1))
    });
    let once = |_| {
        let (before, books) = (post.well(), post.books());
        router = router.take().map(|router| fault(router, &post, &endpoint, lasts));
        let end = unix_ns();
        let first = post.recovered(end);
        // The cameras and the engine noticed nothing...
        assert_eq!((first.epoch, &first.ids), (before.epoch, &before.ids));
        let seen = post.watch.all_since(JUDGED, before.received - 1);
        let lost: u64 = seen.windows(2).map(|pair| pair[1].number - pair[0].number - 1).sum();
        let published = post.books().published - books.published;
        assert!(published > (lasts.as_secs_f64() * 5.0) as u64, "it went on: {published}");
        // ...and what nobody got shows as a gap in the messages' numbers, and nowhere else.
        assert_eq!(lost + seen.len() as u64, seen.last().unwrap().number - seen[0].number + 1);
        post.no_bugs();
        Outcome {
            recovery: Some(Duration::from_nanos(first.received - end)),
            lost,
            dropped: post.books().dropped().unwrap() - books.dropped().unwrap(),
            ..Outcome::default()
        }
    };
    (0..scale.repeats).map(once).collect()
}

#[test]
fn a_router_that_dies_and_returns() {
    let outcomes = (FAULTS[0].run)(Scale::TEST);
    assert!(outcomes[0].lost > 0, "nobody got the masks of those two seconds, and the numbers tell");
}

#[test]
fn a_router_that_stands_still() {
    (FAULTS[1].run)(Scale::TEST);
}
