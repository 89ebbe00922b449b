//! How fast, in one run: the network beside PyTorch, ONNX Runtime and OpenVINO, its memory, propagation, the daemon's
//! stages, how time and memory grow, and what a fixed camera costs. `make bench` runs it and keeps the result in benches/results.
//!
//! Machines drift, so what is compared is measured in turns: each round visits every engine, and ratios are of a round.

mod backbone;
mod child;
mod daemon;
mod fixed;
mod growth;
mod limit;
mod memory;
mod network;
mod operators;
mod page;
mod peers;
mod propagation;
mod report;
mod spread;
mod stages;
mod trackers;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use report::{Machine, Report};

/// The network beside its peers, its operators, memory, propagation, the daemon's stages, growth
#[derive(Parser)]
struct Args {
    /// Only these parts
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rounds of every comparison
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Frames that the daemon's stages are the mean of
    #[arg(long, default_value_t = 60)]
    frames: u64,
    /// Seconds that each number of cameras is watched
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Where the result goes; parts that are not run keep what the day's result says of them
    #[arg(long, default_value = "benches/results")]
    out: PathBuf,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The network beside its peers; batches
    Backbone,
    /// Where a block's time goes, by candle's operators and by ours
    Operators,
    /// Peak memory, and whether it grows
    Memory,
    /// Propagation beside the network
    Propagation,
    /// Where a frame's time goes in the daemon
    Stages,
    /// Trackers of eight cameras on one thread and on all
    Trackers,
    /// Time and memory against tokens, cameras and instances
    Growth,
    /// The stages of a fixed camera
    Fixed,
}

/// Weights and footage of the parts that want them.
pub struct Shared {
    weights: PathBuf,
    clip: PathBuf,
}

impl Shared {
    fn find() -> Option<Self> {
        let root = std::env::var_os("MASKD_SHARED")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
        let shared =
            Self { weights: root.join("weights/dinov2-vits14.safetensors"), clip: root.join("footage/vtest.avi") };
        let absent = [&shared.weights, &shared.clip].into_iter().find(|path| !path.is_file());
        if let Some(path) = absent {
            eprintln!(
                "SKIPPED the daemon's stages, cameras and instances: not measured, {} is absent (set MASKD_SHARED)",
                path.display()
            );
        }
        absent.is_none().then_some(shared)
    }
}

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.first().is_some_and(|first| first == child::FLAG) {
        return child::run(&given[1..]);
    }
    let args = Args::parse();
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let mut report = Report::open(&args.out, Machine::here()?)?;
    println!("{}", page::machine(&report.machine));
    let shared = (wanted(Part::Stages) || wanted(Part::Trackers) || wanted(Part::Growth)).then(Shared::find).flatten();

    if wanted(Part::Backbone) {
        let mut peers = peers::start_all();
        let comparisons = backbone::compare(args.rounds, &mut peers)?;
        drop(peers);
        report.backbone = Some(report::Backbone { comparisons, batches: backbone::batches(args.rounds)? });
        println!("{}", page::backbone(&report));
    }
    if wanted(Part::Operators) {
        report.operators = Some(operators::measure(3 * args.rounds)?);
        println!("{}", page::operators(&report));
    }
    if wanted(Part::Memory) {
        report.memory = Some(memory::measure()?);
        println!("{}", page::memory(&report));
    }
    if wanted(Part::Propagation) {
        report.propagation = Some(propagation::measure(args.rounds.min(5))?);
        println!("{}", page::propagation(&report));
    }
    if let Some(shared) = shared.as_ref().filter(|_| wanted(Part::Stages)) {
        report.stages = Some(stages::measure(shared, args.frames)?);
        println!("{}", page::stages(&report));
    }
    if let Some(shared) = shared.as_ref().filter(|_| wanted(Part::Trackers)) {
        report.trackers = Some(trackers::measure(shared, 3 * args.rounds)?);
        println!("{}", page::trackers(&report));
    }
    if wanted(Part::Growth) {
        report.growth = Some(growth::measure(shared.as_ref(), args.seconds)?);
        println!("{}", page::growth(&report));
    }
    if wanted(Part::Fixed) {
        report.fixed = Some(fixed::measure(30 * args.rounds)?);
        println!("{}", page::fixed(&report));
    }
    let written = report.save(&args.out, &page::whole(&report)).context("writing the result")?;
    println!("written: {}", written.display());
    peers::plot(&written);
    Ok(())
}
