//! Every parser of what comes from outside, fed seeds that were damaged in thousands of ways: no panic, and bounds on
//! time and memory. The seeds are those of the fuzz targets (`fuzz/corpus`), the cases follow from their numbers.
//!
//! `MASKD_HOSTILE=200000` runs that many cases of each parser instead of a few thousand.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use maskd::mask::MAX_AREA;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use parsers::Parser;

mod corpus;
#[path = "../../fuzz/parsers.rs"]
mod parsers;

/// Counts what each thread holds, so that a test sees its own parser only.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is about to end counts no more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Far above what any case takes on a busy machine, far below what would hold up a daemon.
const LONGEST: Duration = Duration::from_secs(5);

fn folder(parser: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(parser)
}

/// The parser's seeds, in the order of their names.
fn seeds(parser: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(folder(parser)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Numbers that lengths and offsets go wrong at.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];
/// What a number in a text may turn into.
const NUMBERS: [&str; 8] = ["-1", "0", "1e308", "1e999", "4294967296", "18446744073709551616", "NaN", "0.5"];

/// One to four damages to one of the seeds; `rng` chooses.
fn damage(seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut case = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=case.len().saturating_sub(1));
        let span = at..(at + rng.random_range(1..=16)).min(case.len());
        match rng.random_range(0..9) {
            _ if case.is_empty() => case.push(rng.random()),
            0 => case[at] ^= 1 << rng.random_range(0..8),
            1 => case[at] = rng.random(),
            2 => case.truncate(at),
            3 => drop(case.drain(span)),
            4 => {
                let again = case[span].repeat(rng.random_range(1..=40));
                case.splice(at..at, again);
            }
            5 => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                case.splice(at.., other[from..].iter().copied());
            }
            6 => {
                let edge = EDGES[rng.random_range(0..EDGES.len())];
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let bytes = if rng.random() { edge.to_le_bytes() } else { edge.to_be_bytes() };
                let bytes = if bytes[0] == 0 { &bytes[8 - width..] } else { &bytes[..width] };
                case.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new);
            }
            7 => {
                // The next number in a text becomes another.
                let digit = |byte: &u8| byte.is_ascii_digit();
                let start = case[at..].iter().position(digit).map_or(at, |i| at + i);
                let end = case[start..].iter().position(|b| !digit(b)).map_or(case.len(), |i| start + i);
                case.splice(start..end, NUMBERS[rng.random_range(0..NUMBERS.len())].bytes());
            }
            _ => {
                let mut noise = [0; 16];
                rng.fill_bytes(&mut noise);
                case.splice(at..at, noise);
            }
        }
    }
    case
}

/// Feeds `parser` its seeds and damaged ones; a case may hold `most` bytes, and 256 for each of its own.
fn hammer(name: &str, parser: Parser, most: usize, times: u64) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no seeds in {}", folder(name).display());
    let times = std::env::var("MASKD_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(times);
    let whole = seeds.iter().map(|seed| (u64::MAX, seed.clone()));
    let damaged = (0..times).map(|number| (number, damage(&seeds, &mut ChaCha8Rng::seed_from_u64(number))));
    for (number, case) in whole.chain(damaged) {
        let held = HELD.get();
        MOST.set(held);
        let start = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| parser(&case)));
        let (took, memory) = (start.elapsed(), (MOST.get() - held) as usize);
        let fault = match ended {
            Err(_) => "it panicked".to_owned(),
            Ok(()) if took > LONGEST => format!("it took {took:?}"),
            Ok(()) if memory > most + 256 * case.len() => format!("it held {memory} bytes"),
            Ok(()) => continue,
        };
        let file = std::env::temp_dir().join(format!("maskd-hostile-{name}-{number}"));
        std::fs::write(&file, &case).unwrap();
        panic!("{name}, case {number} of {} bytes ({}): {fault}", case.len(), file.display());
    }
}

/// Pixels that a mask may claim, and as many again while they are turned.
const PIXELS: usize = 4 * MAX_AREA;
const LITTLE: usize = 1 << 20;

#[test]
fn weights() {
    hammer("weights", parsers::weights, LITTLE, 4000);
}

#[test]
fn archives() {
    hammer("pth", parsers::pth, LITTLE, 4000);
}

#[test]
fn pickles() {
    hammer("pickle", parsers::pickle, LITTLE, 4000);
}

#[test]
fn configurations() {
    hammer("config", parsers::config, LITTLE, 1500);
}

#[test]
fn prompts() {
    hammer("prompt", parsers::prompt, PIXELS, 4000);
}

#[test]
fn messages() {
    hammer("message", parsers::message, PIXELS, 3000);
}

#[test]
fn pictures() {
    hammer("png", parsers::png, PIXELS, 3000);
}

#[test]
fn masks() {
    hammer("rle", parsers::rle, PIXELS, 4000);
}

#[test]
fn keys() {
    hammer("key", parsers::key, LITTLE, 4000);
}

#[test]
fn the_bounds_are_looked_at() {
    let hungry: Parser = |bytes| drop(vec![1_u8; 512 * bytes.len() + 4096]);
    let clumsy: Parser = |bytes| assert!(bytes.first() != Some(&b'm'), "as it should");
    for bad in [hungry, clumsy] {
        assert!(catch_unwind(|| hammer("key", bad, 0, 100)).is_err());
    }
}
