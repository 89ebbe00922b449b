//! `maskd segment`: the daemon's engine on a file, masks as indexed PNGs.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use indicatif::ProgressBar;

use super::{
    Exit, Failure, OrExit as _,
    inputs::{self, FrameNames, PICTURES_A_SECOND},
    interrupt::Interrupt,
    options::{Length, Network, Pointing, preset},
    progress::bar,
};
use maskd_ingest::{Clip, Mp4Writer, is_own_mp4};
use maskd_model::backbone::BlockChoice;
use maskd_tracking::{
    engine::{Engine, FrameResult},
    preset::{Preset, Start},
    tracker::check_prompt,
};
use maskd_types::{
    files::{self, Inputs},
    frame::{Size, StreamId},
    instance::InstanceId,
    mask::{FirstMask, is_own_png, overlay},
};

/// Segment a video file or a folder of frames: one indexed PNG a frame
#[derive(ClapArgs, Debug)]
#[command(group = clap::ArgGroup::new("start").args(["first_mask", "bbox", "point"]), after_help = "Examples:
  maskd segment street.mp4 --out masks --overlay street-masks.mp4
  maskd segment frames/ --out masks --first-mask first.png      follow what first.png marks
  maskd segment street.mp4 --out masks --box 310,120,80,200      follow what is in that box of the first frame
  maskd segment street.mp4 --out masks --short-side 224 --max-frames 50      a quick look

Each mask has its frame's own name and size; pixel values are instance ids in the DAVIS palette, 0 is background.

Ctrl-C ends it after the frame in hand; the overlay holds the frames until then. A second one ends it at once.")]
pub(super) struct Args {
    /// A video file, or a folder of .jpg or .png frames in the order of their names
    input: PathBuf,
    /// Where the masks go; made if absent
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// A PNG of the first frame's size; its instances are followed, and no others. Indexed or grey: values are ids, 255 is
    /// void; a grey one of 0 and 255 alone is one instance. Without it, a box or a point, instances are discovered
    #[arg(short = 'm', long, value_name = "PNG")]
    first_mask: Option<PathBuf>,
    #[command(flatten)]
    pointing: Pointing,
    #[command(flatten)]
    network: Network,
    /// How: 'best' as the daemon does, 'paper' by the published protocol
    #[arg(short, long, default_value_t, value_parser = preset())]
    preset: Preset,
    /// Propagate by the tokens of this block: a number, 'last' (as published) or 'auto'; the preset knows
    #[arg(long, value_name = "BLOCK")]
    propagation_block: Option<BlockChoice>,
    #[command(flatten)]
    length: Length,
    /// Also write a video of the frames with the masks drawn over them
    #[arg(long, value_name = "MP4")]
    overlay: Option<PathBuf>,
    /// Frames a second of a folder, which does not tell: tracking knows by it how much time passes, and the overlay runs so
    /// fast. A video keeps its own times
    #[arg(long, value_name = "FPS", default_value_t = PICTURES_A_SECOND, value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Replace masks and an overlay that maskd made earlier. What it did not make, or reads, is never replaced
    #[arg(long)]
    overwrite: bool,
}

/// Runs the engine over the whole input. Inputs and outputs are checked before anything is written.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut clip = Clip::open(&args.input).or_exit(Exit::Data)?.at((args.fps, 1));
    let inputs = check_outputs(&args, &clip).or_exit(Exit::Config)?;
    let first_mask = args.first_mask.as_deref().map(FirstMask::read).transpose().or_exit(Exit::Data)?;
    let first = inputs::first_frame(&mut clip, &args.input)?;
    let first_mask =
        first_mask.map(|mask| mask.fit(first.size)).transpose().context("first mask").or_exit(Exit::Data)?;
    let prompt = args.pointing.prompt();
    prompt.iter().try_for_each(|prompt| check_prompt(prompt, Some(first.size))).or_exit(Exit::Data)?;
    let backbone = args.network.load(args.propagation_block.unwrap_or(args.preset.block()))?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))
        .or_exit(Exit::Io)?;

    inputs::announce(&backbone, first.size);
    let given = first_mask.is_some() || prompt.is_some();
    let start = if given { Start::FirstMask } else { Start::Discovery };
    let mut engine = Engine::new(backbone, args.preset.tracker(start));
    let stream: StreamId = "segment".parse().or_exit(Exit::Internal)?;
    if let Some(mask) = first_mask {
        engine.first_mask(&stream, mask);
    }
    if let Some(prompt) = prompt {
        engine.add_stream(&stream);
        engine.prompt(&stream, prompt).or_exit(Exit::Data)?;
    }
    let size = first.size;
    let fps = clip.fps().unwrap_or((args.fps, 1));
    let total = args.length.of(clip.len_hint());
    let frames = std::iter::once(Ok(first)).chain(clip).take(args.length.most());
    let interrupt = Interrupt::install().or_exit(Exit::Internal)?;
    let mut sink = Sink::new(&args, inputs, total, size, fps)?;
    for (sequence, clip_frame) in frames.enumerate() {
        let clip_frame = clip_frame.or_exit(Exit::Data)?;
        let frame = clip_frame.to_frame(&stream, sequence as u64);
        for result in engine.step(vec![frame], &()) {
            let result =
                result.map_err(|failure| Failure::new(Exit::Internal, anyhow::anyhow!("{:#}", failure.cause)))?;
            sink.write(&clip_frame.name, &result)?;
        }
        if interrupt.came() {
            break;
        }
    }
    sink.finish()?;
    interrupt.obey();
    Ok(())
}

/// What messages call a mask that is to be written.
const MASK: &str = "the mask";

/// Notes what is read, and refuses outputs that are among it or would replace what must stay.
fn check_outputs(args: &Args, clip: &Clip) -> Result<Inputs> {
    let mut inputs = inputs::of_clip(&args.input, clip, args.network.weights.as_deref());
    if let Some(path) = &args.first_mask {
        inputs.add("--first-mask", path);
    }
    inputs.refuse("--out", &args.out)?;
    if let Some(path) = &args.overlay {
        inputs.refuse("--overlay", path)?;
        match args.overwrite {
            true => drop(files::check_target(path, &is_own_mp4)?),
            false => files::check_new(path, &is_own_mp4, "give another --overlay, or --overwrite")?,
        }
    }
    let names = FrameNames::of(clip, args.length.most());
    for path in pictures(&args.out)? {
        if !args.overwrite {
            bail!("{} already holds masks: give another --out, or --overwrite", args.out.display());
        }
        if path.file_stem().is_some_and(|stem| names.hold(&stem.to_string_lossy())) {
            inputs.refuse(MASK, &path)?;
            files::check_target(&path, &is_own_png)?;
        }
    }
    Ok(inputs)
}

/// The PNG files of a folder; none where there is no folder.
pub(super) fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let what = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(what)?;
    let mut pictures = entries.map(|entry| Ok(entry.with_context(what)?.path())).collect::<Result<Vec<_>>>()?;
    pictures.retain(|path| path.extension().is_some_and(|e| e == "png"));
    Ok(pictures)
}

/// Where results go: PNGs, the overlay, the progress bar, and what the summary counts.
struct Sink<'a> {
    args: &'a Args,
    inputs: Inputs,
    bar: ProgressBar,
    overlay: Option<Mp4Writer>,
    frames: u64,
    ids: BTreeSet<InstanceId>,
    started: Instant,
}

impl<'a> Sink<'a> {
    /// Starts the overlay, so that one that cannot be written is known before the first mask is.
    fn new(args: &'a Args, inputs: Inputs, total: Option<usize>, size: Size, fps: (u32, u32)) -> Result<Self, Failure> {
        let overlay = args.overlay.as_ref().map(|path| Mp4Writer::create(path, size, fps)).transpose();
        let overlay = overlay.or_exit(Exit::Io)?;
        Ok(Self { args, inputs, bar: bar(total), overlay, frames: 0, ids: BTreeSet::new(), started: Instant::now() })
    }

    fn write(&mut self, name: &str, result: &FrameResult) -> Result<(), Failure> {
        let path = self.args.out.join(format!("{name}.png"));
        // A video may have more frames than it said: not all masks were known at the start.
        self.inputs.refuse(MASK, &path).or_exit(Exit::Config)?;
        result.labels.write_png(&path).or_exit(Exit::Io)?;
        if let Some(writer) = &mut self.overlay {
            let mut rgb = result.frame.rgb.to_vec();
            overlay(&mut rgb, &result.labels);
            writer.push(&rgb).or_exit(Exit::Io)?;
        }
        self.frames += 1;
        self.ids.extend(result.instances.iter().map(|i| i.id));
        self.bar.set_message(format!("{} instances", result.instances.len()));
        self.bar.inc(1);
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        if let Some(writer) = self.overlay.take() {
            writer.finish().or_exit(Exit::Io)?;
        }
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        println!(
            "{} frames in {seconds:.1} s ({:.2} a second), {} instances, masks in {}",
            self.frames,
            self.frames as f64 / seconds.max(1e-9),
            self.ids.len(),
            self.args.out.display()
        );
        if let Some(path) = &self.args.overlay {
            println!("overlay in {}", path.display());
        }
        Ok(())
    }
}
