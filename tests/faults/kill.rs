//! The daemon is killed, and a supervisor starts it again as its unit says.

use std::{path::Path, time::Duration};

use maskd::publish::wire::unix_ns;

use super::{
    fault::{Fault, Scale},
    film::RATE,
    outcome::Outcome,
    post::{Plan, Post},
};

/// The one.
pub const FAULTS: &[Fault] = &[Fault {
    name: "killed",
    what: "the daemon is killed (SIGKILL); a supervisor starts it again as maskd.service says",
    run,
}];

/// A value of the unit that is shipped.
fn unit(key: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/maskd.service");
    let text = std::fs::read_to_string(path).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

fn run(scale: Scale) -> Vec<Outcome> {
    // A daemon that is started anew begins with its first mask, so the film stands at its first picture.
    let mut post = Post::start(Plan { runs: false, ..Plan::new(1 + scale.others) });
    let wait = Duration::from_secs_f64(unit("RestartSec").parse().unwrap());
    let once = |_| {
        let before = post.well();
        let killed = unix_ns();
        post.kill();
        std::thread::sleep(wait);
        post.start_again();
        let first = post.recovered(killed);
        assert_eq!(first.ids, before.ids);
        assert_eq!(first.epoch, 0, "it begins anew");
        post.no_bugs();
        let recovery = Duration::from_nanos(first.received - killed);
        let lost = (recovery.as_secs_f64() * f64::from(RATE)).round() as u64;
        Outcome { recovery: Some(recovery), lost, ..Outcome::default() }
    };
    (0..scale.repeats).map(once).collect()
}

#[test]
fn a_daemon_that_is_killed_comes_back() {
    run(Scale::TEST);
}

#[test]
fn the_unit_starts_again_soon_whatever_ended_it() {
    // SIGKILL, a crash and a missed watchdog are failures; so are all exit codes but 0.
    assert_eq!(unit("Restart"), "on-failure");
    let wait: f64 = unit("RestartSec").parse().unwrap();
    assert!((0.5..=5.0).contains(&wait), "neither a busy loop nor a long outage: {wait}");
}
