//! `maskd eval davis`: DAVIS.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args as ClapArgs;
use serde_json::{Map, json};

use super::{
    super::{
        inputs::add_weights,
        options::{Network, preset},
    },
    Exit, Failure, OrExit as _, as_json, bar, failed,
    results::{Folders, Results},
};
use maskd_eval::{self as davis, Dataset, Given, Marker, Proposals, Protocol, Report, RunPlan, Summary, Task};
use maskd_tracking::{
    engine::Engine,
    preset::{Preset, Start},
};
use maskd_types::files::Inputs;

/// Segment a DAVIS set and judge the masks by J and F, as davis2017-evaluation does
#[derive(ClapArgs, Debug)]
#[command(mut_arg("results", |arg| arg.conflicts_with("preset")), after_help = "Examples:
  maskd eval davis --root DAVIS --out paper --preset paper
  maskd eval davis --root DAVIS --out found --task unsupervised --sequences dog,libby --max-frames 25
  maskd eval davis --root DAVIS --out boxed --prompt box      from a box around each object, not from its mask
  maskd eval davis --root DAVIS --results their-masks         judge masks that are there; runs nothing

OUT/SEQUENCE/00000.png are indexed masks at frame size, OUT/SEQUENCE.json says how they were made; beside them stand
global_results-SET.csv and per-sequence_results-SET.csv, as the official evaluator writes them, and report.json.
Sequences that are finished are not run again. Frames count as 24 a second, as DAVIS was filmed.")]
pub(in super::super) struct Args {
    /// The DAVIS folder: it holds JPEGImages, Annotations and ImageSets
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// A list in ImageSets (2017, else 2016), or the path of one
    #[arg(long, alias = "split", value_name = "NAME", default_value = "val")]
    set: String,
    /// semi-supervised: the first annotation is followed. unsupervised: up to 20 objects are discovered
    #[arg(long, value_enum, default_value_t, value_name = "TASK")]
    task: Task,
    /// Objects are not given by their first masks but prompted for, as 'maskd prompt' does: by the tight box of each mask (box),
    /// its centre-most pixel (click), or that and corrections where most is wrong (clicks:N). Semi-supervised only
    #[arg(long, value_name = "PROMPT", conflicts_with = "results", value_parser = str::parse::<Protocol>)]
    prompt: Option<Protocol>,
    /// Only these, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    sequences: Vec<String>,
    /// Only the first frames of each sequence; the rest is not judged either
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_frames: Option<u32>,
    /// paper: the published protocol. best: what the daemon does
    #[arg(long, default_value_t, value_name = "PRESET", value_parser = preset())]
    preset: Preset,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    results: Results,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    if args.prompt.is_some() && args.task != Task::SemiSupervised {
        let error = anyhow!("--prompt: objects are prompted for in the semi-supervised task only: leave out --task");
        return Err(Failure::new(Exit::Config, error));
    }
    let mut dataset = Dataset::open(&args.root, &args.set, args.task).or_exit(Exit::Data)?;
    if !args.sequences.is_empty() {
        dataset.select(&args.sequences).or_exit(Exit::Config)?;
    }
    if let Some(most) = args.max_frames {
        dataset.truncate(most as usize);
    }
    let folders = args.results.folders()?;
    check_outputs(&args, &dataset, &folders).or_exit(Exit::Config)?;
    let summary = match folders.runs {
        true => segment(&args, &dataset, &folders)?,
        false => Summary::new(&dataset, &folders.masks, &[]),
    };
    judge(&dataset, &folders, summary)
}

/// Refuses a folder for outputs that the set is read from, and tables and a report that must stay.
fn check_outputs(args: &Args, dataset: &Dataset, folders: &Folders) -> anyhow::Result<()> {
    let mut inputs = Inputs::default();
    for (role, folder) in [
        ("the frames", "JPEGImages"),
        ("the annotations", "Annotations"),
        ("the annotations", "Annotations_unsupervised"),
        ("the lists", "ImageSets"),
    ] {
        inputs.add_tree(role, &args.root.join(folder));
    }
    for sequence in &dataset.sequences {
        // Links lead out of those trees.
        inputs.add_tree("the frames", &sequence.folder);
        if let Some(folder) = sequence.annotations.first().and_then(|path| path.parent()) {
            inputs.add_tree("the annotations", folder);
        }
    }
    add_weights(&mut inputs, "--weights", args.network.weights.as_deref());
    folders.keep_apart(&inputs, dataset.sequences.iter().map(|sequence| sequence.name.as_str()))?;
    Ok(davis::check_written(&folders.out, &dataset.set)?)
}

/// Runs the sequences that are not finished.
fn segment(args: &Args, dataset: &Dataset, folders: &Folders) -> Result<Summary, Failure> {
    let out = &folders.masks;
    let start = match args.task {
        Task::SemiSupervised => Start::FirstMask,
        Task::Unsupervised => Start::Discovery,
    };
    let all: Vec<_> = dataset.sequences.iter().collect();
    davis::check(&all, args.task).or_exit(Exit::Data)?;
    let mut tracker = args.preset.tracker(start);
    if args.task == Task::Unsupervised {
        tracker.max_instances = usize::from(davis::MAX_PROPOSALS);
        tracker.discover.max_instances = tracker.max_instances;
    }
    let backbone = args.network.load(args.preset.block())?;
    let device = backbone.device();
    let mut settings = Map::from_iter([
        ("task".to_owned(), json!(args.task)),
        ("preset".to_owned(), json!(args.preset.to_string())),
        ("model".to_owned(), json!(backbone.model_id())),
        ("weights".to_owned(), json!(args.network.weights)),
        ("short_side".to_owned(), json!(args.network.short_side)),
        ("block".to_owned(), json!(args.preset.block())),
        ("tracker".to_owned(), as_json(&tracker)?),
    ]);
    if let Some(protocol) = args.prompt {
        settings.insert("prompt".to_owned(), json!(protocol.to_string()));
    }
    let mut fingerprint = settings.clone();
    // The model says what is in the file, whatever the file is called.
    fingerprint.remove("weights");
    let plan = RunPlan { out: out.to_owned(), settings: fingerprint, again: args.results.again };
    let remaining = plan.remaining(&dataset.sequences).or_exit(Exit::Config)?;
    std::fs::create_dir_all(out).or_exit(Exit::Io)?;
    eprintln!(
        "{} on {device}, preset {}; {} of {} sequences to run, {} finished",
        backbone.model_id(),
        args.preset,
        remaining.len(),
        dataset.sequences.len(),
        dataset.sequences.len() - remaining.len()
    );

    let bar = bar(remaining.iter().copied());
    let mut engine = Engine::new(backbone, tracker);
    let given = args.prompt.map_or(Given::from(args.task), Given::Prompts);
    for sequence in &remaining {
        bar.set_message(sequence.name.clone());
        plan.run(&mut engine, given, sequence, &mut || bar.inc(1)).map_err(failed)?;
    }
    bar.finish_and_clear();
    let markers = dataset.sequences.iter().map(|sequence| plan.marker(sequence));
    let markers: Vec<Marker> = markers.collect::<Result<_, _>>().or_exit(Exit::Data)?;
    let mut summary = Summary::new(dataset, out, &markers);
    (summary.settings, summary.device) = (Some(settings), Some(device));
    Ok(summary)
}

/// Judges the masks, prints the table and writes tables and report.
fn judge(dataset: &Dataset, folders: &Folders, mut summary: Summary) -> Result<(), Failure> {
    let (results, out) = (&folders.masks, &folders.out);
    std::fs::create_dir_all(out).or_exit(Exit::Io)?;
    if !dataset.is_annotated() {
        println!("{}: not every frame has its annotation, so nothing is judged", dataset.annotations.display());
        return davis::write_results(out, None, summary).or_exit(Exit::Io);
    }
    let bar = bar(&dataset.sequences);
    let judged = || bar.inc(1);
    let report = match dataset.task {
        Task::SemiSupervised => davis::semi_supervised(dataset, results, &judged),
        Task::Unsupervised => davis::unsupervised(dataset, results, Proposals::All, &judged),
    };
    bar.finish_and_clear();
    let report = report.or_exit(Exit::Data)?;
    println!("{} task on {}, annotations in {}\n", dataset.task, dataset.set, dataset.annotations.display());
    let total = summary.milliseconds.map(|ms| (ms.backbone, ms.track));
    print!("{}", davis::for_people(&report, &summary.rows(), total));
    summary.scores = Some((&report).into());
    if dataset.task == Task::Unsupervised {
        let salient: Report = davis::unsupervised(dataset, results, Proposals::First, &|| ()).or_exit(Exit::Data)?;
        println!(
            "label 1 alone (the most salient, where maskd wrote the masks): J {:.1}, F {:.1}, J&F {:.1}",
            100.0 * salient.j.mean,
            100.0 * salient.f.mean,
            100.0 * salient.j_and_f()
        );
        summary.most_salient = Some((&salient).into());
    }
    davis::write_results(out, Some(&report), summary).or_exit(Exit::Io)?;
    println!("\ntables and report in {}", out.display());
    Ok(())
}
