//! The command line: pretrain, distill, export, curves.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};
use maskd_cli::{Exit, Failure, OrExit as _};
use maskd_types::{
    files::{self, Inputs},
    mask::is_own_png,
};
use tracing_subscriber::EnvFilter;

use crate::{
    checkpoint,
    config::Config,
    data::some_files,
    export,
    log::JsonLines,
    prepare::{Start, Training, prepare},
    progress::ProgressView,
    report::Observer,
    run_folder,
    train::{Ended, train},
    watch::{Curves, Evaluator, TensorBoard, draw_curves},
};

/// Teaches a vision transformer to see, from images and videos without labels
#[derive(Parser, Debug)]
#[command(name = "maskd-train", version, max_term_width = 110, propagate_version = true, after_help = HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "From footage to masks:
  maskd-train pretrain --data footage/ --out run \\
    --config configs/train-tiny.toml
  maskd-train export run --out weights.safetensors
  maskd segment --help

Exit codes:
  0   done, or stopped with a checkpoint
  2   wrong usage of the command line
  64  bad configuration
  65  bad input: data, weights or a checkpoint cannot be used
  70  the training failed
  74  a file could not be read or written

Environment:
  MASKD_LOG   what to log besides warnings: a level (debug) or a filter";

/// Files of the data whose attention is drawn where none are named.
const PROBES: usize = 4;

#[derive(Subcommand, Debug)]
enum Command {
    /// Train, from scratch, from given weights, or on from where it was interrupted
    #[command(after_help = "Examples:
  From scratch, on a laptop, in minutes:
    maskd-train pretrain --data clips/ --out run \\
      --config configs/train-tiny.toml
  Fit given weights to your cameras, in hours:
    maskd-train pretrain --data recordings/ --out run \\
      --config configs/train-footage.toml --init weights.safetensors
  Go on after an interruption:
    maskd-train pretrain --out run --resume

RUN holds config.toml, log.jsonl (loss and diagnostics), the same for
tensorboard --logdir RUN/tensorboard, checkpoints/ and best.safetensors. Ctrl-C and SIGTERM let the step in hand end, save, and exit;
a second one ends at once. The loss starts near ln K (K = head.outputs) and
must fall clearly below it.")]
    Pretrain(Pretrain),
    /// Teach a small network what a large one sees, for a daemon that is faster on your cameras
    #[command(after_help = "Examples:
  The student is made of some of the teacher's blocks, and taught the rest:
    maskd-train distill --teacher large.safetensors --data recordings/ \\
      --out run --config configs/distill-vits14.toml
    maskd-train export run --half --out weights.safetensors
  Go on after an interruption:
    maskd-train distill --out run --resume

RUN is as that of pretrain, and keeps a copy of the teacher. The log's
agreement says what is not learned yet: 0 is the teacher itself. [model] in
the configuration asks for a student of another shape, from scratch.")]
    Distill(Distill),
    /// Write a run's backbone (DINO's teacher, or the student of a distillation) as weights for maskd
    Export(Export),
    /// Draw a run's curves: loss beside ln K, the teacher's entropy, quality
    Curves {
        /// The run's folder
        run: PathBuf,
        /// The PNG to write, which must not be there yet; without it, RUN/curves.png, drawn anew
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(clap::Args, Debug)]
struct Pretrain {
    #[command(flatten)]
    run: Run,
    /// Start from these weights (any that maskd reads, or a name from 'maskd weights list'); the head is made afresh
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Attention heads of the --init weights, where neither the file nor the width says it
    #[arg(long, requires = "init")]
    heads: Option<usize>,
}

#[derive(clap::Args, Debug)]
struct Distill {
    /// The weights to learn from (any that maskd reads, or a name from 'maskd weights list')
    #[arg(long, value_name = "WEIGHTS", required_unless_present = "resume", conflicts_with = "resume")]
    teacher: Option<PathBuf>,
    /// Attention heads of the --teacher, where neither the file nor the width says it
    #[arg(long, requires = "teacher")]
    heads: Option<usize>,
    #[command(flatten)]
    run: Run,
}

/// What every training is told.
#[derive(clap::Args, Debug)]
struct Run {
    /// Image and video files, or folders of them in any structure
    #[arg(long, num_args = 1.., value_name = "DIR_OR_FILE", required_unless_present = "resume")]
    data: Vec<PathBuf>,
    /// The run's folder: must be new or empty
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// The configuration; without it, the paper's ViT-S/8, or a student of six of the teacher's blocks
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on from the newest checkpoint in --out, with its configuration and data
    #[arg(long, conflicts_with_all = ["config", "steps", "epochs"])]
    resume: bool,
    /// A set in DAVIS layout: at each checkpoint, J of the masks that the features propagate through it
    #[arg(long, value_name = "ROOT", conflicts_with = "resume")]
    davis: Option<PathBuf>,
    /// Only these sequences of it, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES", requires = "davis")]
    davis_sequences: Vec<String>,
    /// A folder with one folder of images for each class: at each checkpoint, accuracy of 20 nearest neighbours
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    knn: Option<PathBuf>,
    /// Pictures or videos whose attention is drawn at each checkpoint; without it, some of the data
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with = "resume")]
    probe: Vec<PathBuf>,
    /// Length of the run in steps, over the configuration
    #[arg(long, conflicts_with = "epochs", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Length of the run in epochs, over the configuration
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
}

#[derive(clap::Args, Debug)]
struct Export {
    /// The run's folder (its newest checkpoint is taken), or one checkpoint, e.g. RUN/best.safetensors
    run: PathBuf,
    /// The weights file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Store float16: half the size, no visible loss
    #[arg(long)]
    half: bool,
    /// Replace --out where it is an earlier export
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
/// One line, and the exit code.
pub fn dispatch(cli: Cli) -> Result<(), Failure> {
    let filter = std::env::var("MASKD_LOG").ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "warn".to_owned());
    let filter = EnvFilter::builder().parse(&filter).map_err(|e| anyhow!("MASKD_LOG: {e}")).or_exit(Exit::Config)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    log.with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|e| anyhow!("logging: {e}"))
        .or_exit(Exit::Internal)?;
    match cli.command {
        Command::Pretrain(Pretrain { run, init, heads }) => go(run, "pretrain", |run| {
            let config = configured(run, Config::default())?;
            Ok(match init {
                Some(weights) => Start::Weights(config, weights, heads),
                None => Start::Fresh(config),
            })
        }),
        Command::Distill(Distill { run, teacher, heads }) => go(run, "distill", |run| {
            let teacher = teacher.context("--teacher is missing").or_exit(Exit::Config)?;
            Ok(Start::Teacher(configured(run, Config::distillation())?, teacher, heads))
        }),
        Command::Export(args) => write_weights(&args),
        Command::Curves { run, out } => {
            let log = run.join(run_folder::LOG);
            let mut inputs = Inputs::default();
            inputs.add("the log", &log);
            if let Some(out) = &out {
                inputs.refuse("--out", out).or_exit(Exit::Config)?;
                files::check_new(out, &is_own_png, "remove it, or give another --out").or_exit(Exit::Config)?;
            }
            let picture = out.unwrap_or_else(|| run.join("curves.png"));
            draw_curves(&log, &picture).or_exit(Exit::Data)?;
            say(&picture.display().to_string())
        }
    }
}

/// Trains, from where `start` says where nothing is resumed.
fn go(args: Run, command: &str, start: impl FnOnce(&Run) -> Result<Start, Failure>) -> Result<(), Failure> {
    // Heard from before anything takes long.
    let stop = stop_flag().context("signals").or_exit(Exit::Internal)?;
    let start = if args.resume { Start::Resume } else { start(&args)? };
    if let Start::Fresh(config) | Start::Weights(config, ..) | Start::Teacher(config, ..) = &start {
        check_outputs(&args, config).or_exit(Exit::Config)?;
    }
    // What cannot be measured is better known before the run has a folder.
    if let Start::Fresh(config) | Start::Weights(config, ..) | Start::Teacher(config, ..) = &start {
        Evaluator::open(&config.quality, &[], config.run.device, &args.out).or_exit(Exit::Data)?;
    }
    let mut training = prepare(start, &args.data, &args.out)?;
    let probes = some_files(&training.sources, PROBES).or_exit(Exit::Data)?;
    let pictures = training.folder.root().join("probes");
    let judge = Evaluator::open(&training.config.quality, &probes, training.config.run.device, &pictures);
    let judge = judge.or_exit(Exit::Data)?;
    introduce(&training);

    let log = JsonLines::open(&training.folder.log(), training.step).or_exit(Exit::Io)?;
    let events = TensorBoard::create(&training.folder.root().join("tensorboard"), training.step).or_exit(Exit::Io)?;
    let view = ProgressView::new(training.plan.total, training.step);
    let curves = Curves::new(training.folder.log(), training.folder.root().join("curves.png"));
    // The curves read what the log has written, so they come after it.
    let mut observers: Vec<Box<dyn Observer>> =
        vec![Box::new(judge), Box::new(view), Box::new(log), Box::new(events), Box::new(curves)];
    let ended = train(&mut training, &mut observers, &stop).or_exit(Exit::Internal)?;
    drop(observers);
    say_skipped(&training.loader.skipped());
    let out = args.out.display();
    match ended {
        Ended::Done(path) => {
            eprintln!("done: {}\nnext: maskd-train export {out} --out weights.safetensors", path.display())
        }
        Ended::Stopped(path) => eprintln!(
            "stopped after step {}: {}\ngo on: maskd-train {command} --out {out} --resume",
            training.step,
            path.display()
        ),
    }
    Ok(())
}

/// Refuses a run's folder within what it reads: its pictures would become data.
fn check_outputs(args: &Run, config: &Config) -> anyhow::Result<()> {
    let mut inputs = Inputs::default();
    args.data.iter().for_each(|data| inputs.add_tree("--data", data));
    let quality = &config.quality;
    if !quality.davis.is_empty() {
        for folder in ["JPEGImages", "Annotations", "ImageSets"] {
            inputs.add_tree("quality.davis", &Path::new(&quality.davis).join(folder));
        }
    }
    if !quality.knn.is_empty() {
        inputs.add_tree("quality.knn", Path::new(&quality.knn));
    }
    Ok(inputs.refuse("--out", &args.out)?)
}

/// The configuration that was named, or `default`, with what the command line says over it.
fn configured(args: &Run, default: Config) -> Result<Config, Failure> {
    let mut config = args.config.as_deref().map(Config::load).transpose().or_exit(Exit::Config)?.unwrap_or(default);
    if let Some(epochs) = args.epochs {
        (config.schedule.epochs, config.schedule.steps) = (epochs, 0);
    }
    if let Some(steps) = args.steps {
        config.schedule.steps = steps;
    }
    let absolute = |path: &PathBuf| std::path::absolute(path).with_context(|| path.display().to_string());
    let text = |path: &PathBuf| match absolute(path)?.into_os_string().into_string() {
        Ok(text) => Ok(text),
        Err(path) => Err(anyhow!("{}: the path is not UTF-8", path.display())),
    };
    let quality = &mut config.quality;
    if let Some(root) = &args.davis {
        (quality.davis, quality.davis_sequences) = (text(root).or_exit(Exit::Config)?, args.davis_sequences.clone());
    }
    if let Some(folder) = &args.knn {
        quality.knn = text(folder).or_exit(Exit::Config)?;
    }
    if !args.probe.is_empty() {
        quality.probes = args.probe.iter().map(absolute).collect::<anyhow::Result<_>>().or_exit(Exit::Config)?;
    }
    Ok(config)
}

/// Set by the first SIGINT or SIGTERM; the second ends the process as if nobody listened.
fn stop_flag() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn introduce(training: &Training) {
    let Training { config, plan, learner, loader, step, .. } = training;
    eprintln!(
        "{}; {} images; step {step} of {} ({} images each, {} steps an epoch); learning rate {:.2e}",
        learner.about(),
        loader.samples(),
        plan.total,
        config.run.step_images(),
        plan.epoch,
        config.scaled_lr(),
    );
    say_skipped(&loader.skipped());
}

/// Names what could not be used: all of it is in the log of warnings, a few here.
fn say_skipped(skipped: &[String]) {
    for what in skipped.iter().take(5) {
        eprintln!("maskd-train: warning: skipped {}", what.escape_debug());
    }
    if skipped.len() > 5 {
        eprintln!("maskd-train: warning: {} were skipped in all", skipped.len());
    }
}

fn write_weights(args: &Export) -> Result<(), Failure> {
    let path = if args.run.is_dir() { run_folder::newest(&args.run).or_exit(Exit::Io)? } else { args.run.clone() };
    let mut inputs = Inputs::default();
    inputs.add("the checkpoint", &path);
    inputs.refuse("--out", &args.out).or_exit(Exit::Config)?;
    if args.force {
        files::check_target(&args.out, &export::is_export).or_exit(Exit::Config)?;
    }
    let saved = checkpoint::read(Path::new(&path)).or_exit(Exit::Data)?;
    export::export(&saved, &args.out, args.half, args.force).or_exit(Exit::Io)?;
    say(&format!("{} (step {})", args.out.display(), saved.progress.step))
}

/// A line for whoever reads our output; nobody may.
fn say(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("standard output").or_exit(Exit::Io),
        _ => Ok(()),
    }
}
