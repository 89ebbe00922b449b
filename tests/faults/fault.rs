//! A fault, and the list of all.

use super::{behaviour, clock, disk, kill, network, outcome::Outcome, readers, router};

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Times that the fault happens.
    pub repeats: usize,
    /// Cameras beside the one that is broken.
    pub others: usize,
}

impl Scale {
    /// Once, beside one other camera: a test.
    pub const TEST: Self = Self { repeats: 1, others: 1 };
    /// As the table is measured: one bad camera of eight.
    pub const BENCH: Self = Self { repeats: 20, others: 7 };
}

/// Something that goes wrong.
#[derive(Clone, Copy)]
pub struct Fault {
    /// One word, or several with hyphens: the row's name, and what selects it.
    pub name: &'static str,
    /// What happens, for the table; no `|`.
    pub what: &'static str,
    /// Makes it happen; panics where a promise that is not a time is broken.
    pub run: fn(Scale) -> Vec<Outcome>,
}

/// The fault of a camera that [`rig::run`](super::rig::run) makes out of a [`Break`](super::rig::Break).
macro_rules! fault {
    ($name:literal, $what:literal, $break:expr) => {
        Fault { name: $name, what: $what, run: |scale| $crate::rig::run($break, scale) }
    };
}
pub(crate) use fault;

/// Makes one happen once: what its test does.
pub fn once(name: &str) {
    let fault = all().into_iter().find(|fault| fault.name == name).unwrap();
    (fault.run)(Scale::TEST);
}

/// All of them, in the order of the table.
pub fn all() -> Vec<Fault> {
    let lists = [
        network::FAULTS,
        behaviour::FAULTS,
        router::FAULTS,
        readers::FAULTS,
        disk::FAULTS,
        clock::FAULTS,
        kill::FAULTS,
    ];
    lists.concat()
}

#[test]
fn names_are_words_of_their_own() {
    let mut names: Vec<&str> = all().iter().map(|fault| fault.name).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{names:?}");
    assert!(all().iter().all(|fault| !fault.what.contains('|')));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
