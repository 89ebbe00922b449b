//! Faults of the network between a camera and the daemon.

use std::time::Duration;

use super::{
    fault::{Fault, Scale},
    proxy::Link,
    rig::{Break, Epoch, Rig, run},
};

const SECOND: Duration = Duration::from_secs(1);

/// Puts a name to a [`Break`].
macro_rules! fault {
    ($name:literal, $what:literal, $break:expr) => {
        Fault { name: $name, what: $what, run: |scale| run($break, scale) }
    };
}

fn mend(rig: &mut Rig) {
    rig.proxy.set(Link::Well);
}

const CUT: Break = Break { starts: |rig| rig.proxy.cut(), lasts: Duration::ZERO, ends: mend, epoch: Epoch::New };
const RESET: Break = Break { starts: |rig| rig.proxy.reset(), ..CUT };
const REFUSE: Break = Break { starts: |rig| rig.proxy.set(Link::Refuse), lasts: SECOND, ..CUT };
const STALL: Break = Break { starts: |rig| rig.proxy.set(Link::Stall), lasts: Duration::from_secs(3), ..CUT };
const HICCUP: Break = Break { lasts: SECOND, epoch: Epoch::Same, ..STALL };
const SLOW: Break =
    Break { starts: |rig| rig.proxy.set(Link::Slow(2000)), lasts: SECOND, ends: mend, epoch: Epoch::Either };
const DROP: Break = Break { starts: |rig| rig.proxy.set(Link::Drop(5000)), ..SLOW };
const FLIP: Break = Break { starts: |rig| rig.proxy.set(Link::Flip(2000)), ..SLOW };
const BABBLE: Break = Break { starts: |rig| rig.proxy.set(Link::Babble), ..CUT_FOR_A_SECOND };
const CUT_FOR_A_SECOND: Break = Break { lasts: SECOND, ..CUT };

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault!("cut", "the connection is closed", CUT),
    fault!("reset", "the connection is reset", RESET),
    fault!("refuse", "the connection is reset, and refused for 1 s", REFUSE),
    fault!("stall", "nothing passes for 3 s, which is more than `stall_timeout_s` (2 s here)", STALL),
    fault!("hiccup", "nothing passes for 1 s, which is less", HICCUP),
    fault!("slow", "2 kB/s pass for 1 s", SLOW),
    fault!("drop", "1 byte in 5000 is lost with up to 100 more, for 1 s", DROP),
    fault!("flip", "1 byte in 2000 has a bit turned over, for 1 s", FLIP),
    fault!("babble", "all bytes mean nothing for 1 s", BABBLE),
];

fn once(name: &str) {
    let fault = FAULTS.iter().find(|fault| fault.name == name).unwrap();
    (fault.run)(Scale::TEST);
}

#[test]
fn a_connection_that_is_closed() {
    once("cut");
}

#[test]
fn a_connection_that_is_reset() {
    once("reset");
}

#[test]
fn a_connection_that_is_refused() {
    once("refuse");
}

#[test]
fn a_network_that_stalls() {
    once("stall");
}

#[test]
fn a_network_that_pauses() {
    once("hiccup");
}

#[test]
fn a_network_that_is_slow() {
    once("slow");
}

#[test]
fn a_network_that_loses_bytes() {
    once("drop");
}

#[test]
fn a_network_that_turns_bits_over() {
    once("flip");
}

#[test]
fn a_network_that_babbles() {
    once("babble");
}
