//! Faults of the network between a camera and the daemon.

use std::time::Duration;

use super::{
    fault::{Fault, fault, once},
    proxy::Link,
    rig::{Break, Epoch, Rig},
};

const SECOND: Duration = Duration::from_secs(1);

fn mend(rig: &mut Rig) {
    rig.proxy.set(Link::Well);
}

const CUT: Break = Break { starts: |rig| rig.proxy.cut(), ends: mend, ..Break::NONE };
const RESET: Break = Break { starts: |rig| rig.proxy.reset(), ..CUT };
const REFUSE: Break = Break { starts: |rig| rig.proxy.set(Link::Refuse), lasts: SECOND, ..CUT };
const STALL: Break = Break { starts: |rig| rig.proxy.set(Link::Stall), lasts: Duration::from_secs(4), ..CUT };
const HICCUP: Break = Break { lasts: SECOND, epoch: Epoch::Same, ..STALL };
const SLOW: Break = Break { starts: |rig| rig.proxy.set(Link::Slow(2000)), lasts: SECOND, epoch: Epoch::Either, ..CUT };
const DROP: Break = Break { starts: |rig| rig.proxy.set(Link::Drop(5000)), ..SLOW };
const FLIP: Break = Break { starts: |rig| rig.proxy.set(Link::Flip(2000)), ..SLOW };
const BABBLE: Break = Break { starts: |rig| rig.proxy.set(Link::Babble), ..SLOW };

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault!("cut", "the connection is closed", CUT),
    fault!("reset", "the connection is reset", RESET),
    fault!("refuse", "the connection is reset, and refused for 1 s", REFUSE),
    fault!("stall", "nothing passes for 4 s, which is more than `stall_timeout_s` (3 s here)", STALL),
    fault!("hiccup", "nothing passes for 1 s, which is less", HICCUP),
    fault!("slow", "2 kB/s pass for 1 s", SLOW),
    fault!("drop", "1 byte in 5000 is lost with up to 100 more, for 1 s", DROP),
    fault!("flip", "1 byte in 2000 has a bit turned over, for 1 s", FLIP),
    fault!("babble", "all bytes mean nothing for 1 s", BABBLE),
];

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
