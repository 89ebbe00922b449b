//! Faults of a camera itself.

use std::time::Duration;

use maskd::frame::Size;

use super::{
    camera::{Codec, Manner},
    fault::{Fault, fault, once},
    film::{Film, SIZE},
    rig::{Break, Epoch, Rig},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: u32 = 3600 * 90_000;

fn mend(rig: &mut Rig) {
    rig.camera.behave(|manner| (manner.silent, manner.garbage) = (false, false));
}

/// Another size at each call.
fn resize(rig: &mut Rig, other: Size) {
    rig.camera.behave(|manner| manner.size = if manner.size == SIZE { other } else { SIZE });
}

/// Switches the camera off and on again, changed.
fn restart(rig: &mut Rig, change: fn(&mut Manner)) {
    rig.camera.switch_off();
    rig.camera.behave(change);
    rig.camera.switch_on();
}

const SILENT: Break = Break {
    starts: |rig| rig.camera.behave(|manner| manner.silent = true),
    lasts: Duration::from_secs(4),
    ends: mend,
    ..Break::NONE
};
const UNPLUG: Break =
    Break { starts: |rig| rig.camera.switch_off(), lasts: SECOND, ends: |rig| rig.camera.switch_on(), ..Break::NONE };
const AWAY: Break = Break { lasts: Duration::from_secs(10), ..UNPLUG };
const GARBAGE: Break = Break {
    starts: |rig| rig.camera.behave(|manner| manner.garbage = true),
    lasts: SECOND,
    epoch: Epoch::Either,
    ..SILENT
};
const LARGE: Size = Size::new(320, 240);
const WIDE: Size = Size::new(240, 120);
const SIZE_CHANGE: Break = Break {
    before: |_| drop(Film::at(LARGE)), // drawing it takes its time
    starts: |rig| resize(rig, LARGE),
    epoch: Epoch::Same,
    ..Break::NONE
};
const ASPECT: Break = Break { before: |_| drop(Film::at(WIDE)), starts: |rig| resize(rig, WIDE), ..SIZE_CHANGE };
const PACE: Break = Break {
    starts: |rig| rig.camera.behave(|manner| manner.fps = if manner.fps == 10 { 25 } else { 10 }),
    ..SIZE_CHANGE
};
const CODEC: Break = Break {
    starts: |rig| {
        restart(rig, |manner| {
            manner.codec = match manner.codec {
                Codec::H264 => Codec::H265,
                Codec::H265 => Codec::Jpeg,
                Codec::Jpeg => Codec::H264,
            }
        });
    },
    ..Break::NONE
};
const FORWARD: Break = Break {
    starts: |rig| rig.camera.behave(|manner| manner.shift = manner.shift.wrapping_add(HOUR)),
    epoch: Epoch::Either,
    ..Break::NONE
};
const BACK: Break =
    Break { starts: |rig| rig.camera.behave(|manner| manner.shift = manner.shift.wrapping_sub(HOUR)), ..FORWARD };
const RENUMBER: Break = Break {
    starts: |rig| rig.camera.behave(|manner| manner.renumber = manner.renumber.wrapping_add(30_000)),
    ..FORWARD
};
const WRAP: Break = Break {
    before: |rig| restart(rig, |manner| manner.wraps = true),
    lasts: Duration::from_secs(5),
    epoch: Epoch::Same,
    ..Break::NONE
};

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault!("silent", "the camera sends nothing for 4 s, its connection stays open", SILENT),
    fault!("unplug", "the camera is switched off for 1 s", UNPLUG),
    fault!("away", "the camera is switched off for 10 s", AWAY),
    fault!("garbage", "packets hold garbage in place of video for 1 s", GARBAGE),
    fault!("size", "pictures of another size, from one to the next", SIZE_CHANGE),
    fault!("aspect", "pictures of another shape, from one to the next", ASPECT),
    fault!("pace", "10 frames a second become 25, or 25 become 10", PACE),
    fault!("codec", "the camera restarts with another codec: H.264, H.265, JPEG", CODEC),
    fault!("forward", "timestamps jump forward by an hour", FORWARD),
    fault!("back", "timestamps jump back by an hour", BACK),
    fault!("renumber", "packet numbers jump by 30,000", RENUMBER),
    fault!("wrap", "timestamps and packet numbers wrap", WRAP),
];

#[test]
fn a_camera_that_sends_nothing() {
    once("silent");
}

#[test]
fn a_camera_that_is_switched_off() {
    once("unplug");
}

#[test]
fn a_camera_that_is_away_for_long() {
    once("away");
}

#[test]
fn a_camera_that_sends_garbage() {
    once("garbage");
}

#[test]
fn a_camera_that_changes_its_size() {
    once("size");
}

#[test]
fn a_camera_that_changes_its_shape() {
    once("aspect");
}

#[test]
fn a_camera_that_changes_its_pace() {
    once("pace");
}

#[test]
fn a_camera_that_changes_its_codec() {
    once("codec");
}

#[test]
fn a_camera_whose_time_jumps_forward() {
    once("forward");
}

#[test]
fn a_camera_whose_time_jumps_back() {
    once("back");
}

#[test]
fn a_camera_that_numbers_anew() {
    once("renumber");
}

#[test]
fn a_camera_whose_numbers_wrap() {
    once("wrap");
}
