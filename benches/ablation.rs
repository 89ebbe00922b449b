//! What each choice of the `best` preset is worth: every row of the table in benches/quality.md.
//!
//! `make ablation` runs the network once over each frame and every variant's tracker over its features, so that all
//! rows see the same numbers. Semi-supervised protocol: the first annotation is given, first and last frame not judged.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use maskd::{
    davis::{Dataset, Sequence, Task, contour, region},
    features::{Features, Grid},
    frame::Resolution,
    ingest::Clip,
    kernels,
    mask::LabelMap,
    model::{Checkpoint, OutputRequest, Vit},
    preprocess,
    preset::{Preset, Start},
    refine::Colours,
    tracker::{Tracker, TrackerConfig},
};

/// One row for each choice of the best preset, all else equal
#[derive(Parser)]
struct Args {
    /// The DAVIS folder
    #[arg(long, default_value = "../shared/data/davis")]
    root: PathBuf,
    /// The network's weights; those of the table by default (benches/quality.md says what they are)
    #[arg(long, default_value = "../shared/weights/dinov2-vits14.safetensors")]
    weights: PathBuf,
    /// Pixels of the short side
    #[arg(long, default_value_t = 476)]
    short_side: u32,
    /// The first frames of each sequence
    #[arg(long, default_value_t = 25)]
    max_frames: usize,
    /// Only rows whose name holds one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these sequences
    #[arg(long, value_delimiter = ',')]
    sequences: Vec<String>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What labels are propagated by; blocks from 1.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Tokens(usize),
    Keys(usize),
    Both(usize),
}

struct Variant {
    name: String,
    by: By,
    config: TrackerConfig,
    scores: Vec<(f64, f64)>,
    time: Vec<Duration>,
}

/// The table's rows: the two presets, then `best` with one thing changed.
fn variants(depth: usize) -> Vec<Variant> {
    let best_block = (depth * 2).div_ceil(3);
    let (paper, best) = (Preset::Paper.tracker(Start::FirstMask), Preset::Best.tracker(Start::FirstMask));
    let mut all = Vec::new();
    let mut row = |name: &str, by: By, config: TrackerConfig| {
        all.push(Variant { name: name.to_owned(), by, config, scores: Vec::new(), time: Vec::new() });
    };
    row("paper", By::Tokens(depth), paper.clone());
    row(&format!("paper, block {best_block}"), By::Tokens(best_block), paper);
    row("**best**", By::Tokens(best_block), best.clone());
    for block in [depth / 3, depth / 2, depth * 5 / 6, depth] {
        row(&format!("best, block {block}"), By::Tokens(block), best.clone());
    }
    row("best, keys of the block", By::Keys(best_block), best.clone());
    row("best, tokens and keys", By::Both(best_block), best.clone());
    let mut with = |name: &str, edit: &dyn Fn(&mut TrackerConfig)| {
        let mut config = best.clone();
        edit(&mut config);
        row(name, By::Tokens(best_block), config);
    };
    with("best, temperature 0.1", &|c| c.propagate.temperature = 0.1);
    with("best, temperature 0.03", &|c| c.propagate.temperature = 0.03);
    with("best, top 5", &|c| c.propagate.top_k = 5);
    with("best, top 20", &|c| c.propagate.top_k = 20);
    with("best, radius 8", &|c| c.propagate.radius = 8);
    with("best, radius 16", &|c| c.propagate.radius = 16);
    with("best, 3 previous frames", &|c| c.propagate.context = 3);
    with("best, 12 previous frames", &|c| c.propagate.context = 12);
    with("best, no target model", &|c| c.propagate.target_model = false);
    with("best, no refinement (bilinear)", &|c| c.refine.enabled = false);
    with("best, no refinement, min-max", &|c| (c.refine.enabled, c.min_max) = (false, true));
    with("best, no cells (guided filter only)", &|c| c.refine.band = 0.5);
    with("best, no guided filter (cells only)", &|c| c.refine.guided_radius = 0);
    with("best, cells by place alone", &|c| c.refine.colour_sigma = 10.0);
    with("best, colour sigma 0.05", &|c| c.refine.colour_sigma = 0.05);
    with("best, guided radius 8", &|c| c.refine.guided_radius = 8);
    all
}

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.root.is_dir() || !args.weights.is_file() {
        let (root, weights) = (args.root.display(), args.weights.display());
        eprintln!("SKIPPED ablation: nothing is measured, {root} or {weights} is absent (--root, --weights)");
        return Ok(());
    }
    let mut dataset = Dataset::open(&args.root, "val", Task::SemiSupervised)?;
    if !args.sequences.is_empty() {
        dataset.select(&args.sequences)?;
    }
    dataset.truncate(args.max_frames);
    let checkpoint = Checkpoint::read(&args.weights, None)?;
    let arch = checkpoint.architecture;
    let vit = Vit::new(arch, &checkpoint.tensors, &Device::Cpu, DType::F32, kernels::ComputePath::Fused)?;
    let mut variants = variants(arch.depth);
    let chosen = |v: &Variant| args.only.is_empty() || args.only.iter().any(|only| v.name.contains(only.as_str()));
    variants.retain(chosen);

    let frames: usize = dataset.sequences.iter().map(|s| s.frames.len()).sum();
    let bar = ProgressBar::new(frames as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} frames  ETA {eta}  {msg}")?);
    for sequence in &dataset.sequences {
        bar.set_message(sequence.name.clone());
        run(sequence, &vit, args.short_side, &mut variants, &bar)?;
    }
    bar.finish_and_clear();
    print(&variants, &dataset, args.short_side);
    Ok(())
}

/// Runs all variants over one sequence.
fn run(sequence: &Sequence, vit: &Vit, short_side: u32, variants: &mut [Variant], bar: &ProgressBar) -> Result<()> {
    let arch = *vit.architecture();
    let mut blocks: Vec<usize> = Vec::new();
    let mut keys: Vec<usize> = Vec::new();
    for by in variants.iter().map(|v| v.by) {
        match by {
            By::Tokens(block) => blocks.push(block - 1),
            By::Keys(block) => keys.push(block - 1),
            By::Both(block) => (blocks.push(block - 1), keys.push(block - 1)).0,
        }
    }
    [&mut blocks, &mut keys].into_iter().for_each(|list| (list.sort_unstable(), list.dedup()).0);
    let want = OutputRequest { tokens: blocks.clone(), keys: keys.clone(), ..OutputRequest::default() };
    let mut trackers: Vec<Tracker> = variants.iter().map(|v| Tracker::new(v.config.clone(), arch.patch)).collect();
    let first = sequence.annotation(0)?;
    trackers.iter_mut().for_each(|tracker| tracker.first_mask(first.clone()));
    let mut sums = vec![(0.0, 0.0, 0usize); variants.len()];

    let folder = sequence.frames[0].parent().context("a frame lies in a folder")?;
    for (index, frame) in Clip::open(folder)?.enumerate().take(sequence.frames.len()) {
        let frame = frame?.to_frame(&"ablation".parse()?, index as u64);
        let size = Resolution { short_side, multiple: arch.patch as u32 }.fit(frame.size);
        let input = preprocess::batch(&[&frame], size)?;
        let grid = Grid { rows: size.height as usize / arch.patch, cols: size.width as usize / arch.patch };
        let output = vit.forward(&input, &want)?;
        let colours = Colours::of(&frame.rgb, frame.size, grid, arch.patch);
        let truth = sequence.annotation(index)?;
        for ((variant, tracker), sums) in variants.iter_mut().zip(&mut trackers).zip(&mut sums) {
            let tokens = |block: usize| &output.tokens[blocks.iter().position(|b| *b + 1 == block).unwrap_or(0)];
            let keys = |block: usize| &output.keys[keys.iter().position(|b| *b + 1 == block).unwrap_or(0)];
            let parts = match variant.by {
                By::Tokens(block) => vec![unit_rows(tokens(block))?],
                By::Keys(block) => vec![unit_rows(keys(block))?],
                By::Both(block) => vec![unit_rows(tokens(block))?, unit_rows(keys(block))?],
            };
            let features = Arc::new(side_by_side(grid, arch.dim, &parts));
            let started = Instant::now();
            let tracked = tracker.step_in_colour(features, colours.clone(), frame.size, 0);
            variant.time.push(started.elapsed());
            if (1..sequence.frames.len() - 1).contains(&index) {
                let mask = |map: &LabelMap| map.labels.iter().map(|label| *label != 0).collect::<Vec<_>>();
                let (found, wanted) = (mask(&tracked.labels), mask(&truth));
                sums.0 += region(&found, &wanted, None);
                sums.1 += contour(&found, &wanted, truth.size, None);
                sums.2 += 1;
            }
        }
        bar.inc(1);
    }
    for (variant, (j, f, count)) in variants.iter_mut().zip(sums) {
        variant.scores.push((100.0 * j / count as f64, 100.0 * f / count as f64));
    }
    Ok(())
}

/// `(1, 1 + N, C)` to L2-normalised rows `(N, C)`.
fn unit_rows(tokens: &Tensor) -> Result<Vec<f32>> {
    let (_, n, dim) = tokens.dims3()?;
    let mut rows = tokens.narrow(1, 1, n - 1)?.flatten_all()?.to_vec1::<f32>()?;
    for row in rows.chunks_exact_mut(dim) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        row.iter_mut().for_each(|v| *v /= norm);
    }
    Ok(rows)
}

/// Several kinds of features as one, so that cosines become their mean.
fn side_by_side(grid: Grid, dim: usize, parts: &[Vec<f32>]) -> Features {
    let scale = (1.0 / parts.len() as f32).sqrt();
    let row =
        |patch: usize| parts.iter().flat_map(move |part| part[patch * dim..][..dim].iter().map(move |v| v * scale));
    Features::new(grid, dim * parts.len(), (0..grid.len()).flat_map(row).collect::<Vec<_>>())
}

fn print(variants: &[Variant], dataset: &Dataset, short_side: u32) {
    let names: Vec<&str> = dataset.sequences.iter().map(|s| s.name.as_str()).collect();
    println!("Short side {short_side}, {} sequences; J of each, then means\n", names.len());
    println!("| variant | {} | J | F | J&F | tracking ms |", names.join(" | "));
    println!("| --- |{}", " ---: |".repeat(names.len() + 4));
    for Variant { name, scores, time, .. } in variants {
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
        let (j, f) = (mean(&|s| s.0), mean(&|s| s.1));
        let each: Vec<String> = scores.iter().map(|s| format!("{:.1}", s.0)).collect();
        let mut time = time.clone();
        time.sort();
        let median = time.get(time.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!("| {name} | {} | {j:.1} | {f:.1} | {:.1} | {median:.0} |", each.join(" | "), (j + f) / 2.0);
    }
}
