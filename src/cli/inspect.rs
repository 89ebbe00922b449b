//! `maskd inspect`: the daemon's engine on a file, and a page about what it saw and why.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args as ClapArgs;

use super::{
    Exit, Failure, OrExit as _,
    inputs::{self, PICTURES_A_SECOND},
    interrupt::Interrupt,
    options::{Length, Network, seconds},
    progress::bar,
};
use maskd_ingest::{Clip, ClipFrame};
use maskd_inspect::{Facts, Folder, Moment, PageSummary, Report, When};
use maskd_model::backbone::Backbone;
use maskd_tracking::{
    engine::Engine,
    preset::{Preset, Start},
};
use maskd_types::frame::{Size, StreamId};

/// Show what the engine makes of a clip, and why: a page with pictures, to look at or to send to somebody
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples:
  maskd inspect yard.mp4 --out page             then open page/index.html
  maskd inspect frames/ --out page --fps 10 --max-frames 300
  maskd inspect yard.mp4 --out page --each 0.5 --pictures 1000      more pictures

A minute or two of a camera's video show most of what is wrong. Record it with the camera's own software: videos of
'maskd watch --record' have masks drawn in.

DIR/index.html tells whether the camera was taken for fixed or for moving, by what measures, and of each instance when it was
found and why, whom it touched, and when and why it ended. DIR/pictures holds frames with what was seen in them, DIR/log.jsonl
all of it in the same words. The page needs no network and holds no script. The pictures show what the camera saw: think of
who is in them before you send them.

Ctrl-C ends it after the frame in hand; the page is about the frames until then. A second one ends it at once.")]
pub(super) struct Args {
    /// A video file, or a folder of .jpg or .png frames in the order of their names
    input: PathBuf,
    /// Where the page goes; made if absent
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    length: Length,
    /// Process every Nth frame only, as an engine does that is too slow for all of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    every: u32,
    /// Frames a second of a folder, which does not tell: tracking knows by it how much time passes. A video keeps its own times
    #[arg(long, value_name = "FPS", default_value_t = PICTURES_A_SECOND, value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Seconds of the clip between two pictures. There is always one where an instance is published, comes apart from another,
    /// becomes a part of another or ends, and where the camera is taken for something else
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    each: std::time::Duration,
    /// Pictures at most; the page says how many more there would have been
    #[arg(long, value_name = "N", default_value_t = 200)]
    pictures: usize,
    /// Replace a page that maskd made earlier. What it did not make, or reads, is never replaced
    #[arg(long)]
    overwrite: bool,
}

/// Runs the engine over the whole input. Inputs and outputs are checked before anything is written.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut clip = Clip::open(&args.input).or_exit(Exit::Data)?.at((args.fps, 1));
    let inputs = inputs::of_clip(&args.input, &clip, args.network.weights.as_deref());
    let folder = Folder::check(&args.out, inputs, args.overwrite).or_exit(Exit::Config)?;
    let first = inputs::first_frame(&mut clip, &args.input)?;
    let preset = Preset::Best;
    let backbone = args.network.load(preset.block())?;
    let facts = facts(&args, &clip, &backbone, first.size);
    inputs::announce(&backbone, first.size);
    let when = When { each: args.each.as_secs_f64(), most: args.pictures };
    let mut report = Report::begin(facts, when, folder).or_exit(Exit::Io)?;
    let mut engine = Engine::new(backbone, preset.tracker(Start::Discovery));
    let interrupt = Interrupt::install().or_exit(Exit::Internal)?;
    let every = args.every as usize;
    let bar = bar(args.length.of(clip.len_hint().map(|all| all.div_ceil(every))));
    let frames = std::iter::once(Ok(first)).chain(clip).enumerate().step_by(every);
    let mut cut_short = None;
    let mut start = None;
    for (number, frame) in frames.take(args.length.most()) {
        let seen = frame.or_exit(Exit::Data).and_then(|frame| {
            let seconds = frame.pts_ns.map_or(number as f64 / f64::from(args.fps), |ns| ns as f64 * 1e-9);
            look(&mut engine, &mut report, frame, number as u64, seconds - *start.get_or_insert(seconds))
        });
        if let Err(failure) = seen {
            // What was seen until then is worth a page all the same.
            cut_short = Some(failure);
            break;
        }
        bar.inc(1);
        if interrupt.came() {
            break;
        }
    }
    bar.finish_and_clear();
    let why = match &cut_short {
        Some(failure) => failure.lines().into_iter().next(),
        None => interrupt.came().then(|| "it was interrupted".to_owned()),
    };
    tell(&report.finish(why.as_deref()).or_exit(Exit::Io)?);
    if let Some(failure) = cut_short {
        return Err(failure);
    }
    interrupt.obey();
    Ok(())
}

/// One frame through the engine and into the report.
fn look(engine: &mut Engine, report: &mut Report, frame: ClipFrame, number: u64, seconds: f64) -> Result<(), Failure> {
    let stream: StreamId = "inspect".parse().or_exit(Exit::Internal)?;
    let moment = Moment { frame: number, name: frame.name.clone(), seconds };
    for result in engine.step(vec![frame.to_frame(&stream, number)], &()) {
        let result = result.map_err(|failure| Failure::new(Exit::Internal, anyhow!("{:#}", failure.cause)))?;
        let Some(tracker) = engine.tracker(&stream) else { continue };
        report.take(moment.clone(), &result, &tracker.inspect()).or_exit(Exit::Io)?;
    }
    Ok(())
}

/// What the page says of the clip and of how it was looked at.
fn facts(args: &Args, clip: &Clip, backbone: &Backbone, size: Size) -> Facts {
    // Folders of frames are often called so: the folder around one tells more.
    let parts = args.input.components().rev().take(if clip.is_video() { 1 } else { 2 });
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let name = parts.into_iter().rev().collect::<Vec<_>>().join("/");
    let rate = match clip.fps() {
        Some((frames, seconds)) => format!("{:.4}", f64::from(frames) / f64::from(seconds.max(1))),
        None => "not known".to_owned(),
    };
    let more = vec![
        ("Size", size.to_string()),
        ("Frames a second", rate),
        ("Every", args.every.to_string()),
        ("Network", backbone.model_id().to_string()),
        ("Device", backbone.device().to_string()),
        ("Seen at", backbone.input_size(size).to_string()),
        ("Made by", concat!("maskd ", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    Facts { clip: name, more }
}

fn tell(summary: &PageSummary) {
    let (taken, left) = summary.pictures;
    println!(
        "{} frames, the camera taken for fixed in {}, {} instances, {taken} pictures, page in {}",
        summary.frames,
        summary.fixed,
        summary.instances,
        summary.page.display()
    );
    if left > 0 {
        println!("{left} more pictures were left out: --pictures says how many there may be");
    }
}
