//! `maskd eval fixed`: fixed cameras.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use serde_json::{Map, json};

use super::{
    super::{
        inputs::{PICTURES_A_SECOND, add_weights},
        options::{Network, configured, one_of},
    },
    Exit, Failure, OrExit as _, as_json, bar, failed, progress,
    results::{Folders, Results},
};
use maskd_eval::{
    Job as _, Marker, RunPlan,
    fixed::{self, Cues, Cut, Part, Report, Sequence, Set, Shot},
};
use maskd_fixed::camera::Ablation;
use maskd_ingest::{Mp4Writer, is_own_mp4};
use maskd_tracking::{
    engine::Engine,
    preset::{Preset, Start},
    tracker::Tracker,
};
use maskd_types::{
    files::{self, Inputs},
    mask::overlay,
};

/// Which masks of others are read here.
const RESULTS_HELP: &str = "Judge the masks in DIR/SEQUENCE/, of whatever method, and run nothing: indexed PNGs or grey ones \
    of up to 16 bits, 0 is scene. Tables go to OUT, or to DIR";

/// Segment what fixed cameras saw, and judge the masks by the truth of what moves
#[derive(ClapArgs, Debug)]
#[command(
    mut_arg("short_side", |arg| arg.default_value("336")),
    mut_arg("results", |arg| arg.help(RESULTS_HELP)),
    after_help = "Examples:
  maskd eval fixed --root CAMERAS --out found
  maskd eval fixed --root CDNET --out found --sequences baseline,office --part second --overlay
  maskd eval fixed --root CAMERAS --out slow --every 12      as two frames a second would see it
  maskd eval fixed --root CAMERAS --out bare --without features,hold      what those are worth
  maskd eval fixed --root CAMERAS --results their-masks      judge masks that are there; runs nothing

ROOT holds sequences in either layout:
  SEQUENCE/frames/NNNNN.jpg, SEQUENCE/truth/NNNNN.png
      255 moves, 85 and 170 are not judged, all else is scene; the first fifth is run and not judged
  [CATEGORY/]SEQUENCE/input, groundtruth, temporalROI.txt, ROI.bmp or ROI.jpg
      as CDnet 2012 and 2014 have them; temporalROI.txt says which frames are judged
SEQUENCE/identities/FRAME.png, where it is there, says which thing is where: 0 is scene, other
values are things, 255 of 8 bits is not judged. IDF1, IDsw, parted and wrong are told then.

P, R, F1, IoU  pixels of all instances together
PQ = SQ x RQ   instances, against pieces of truth above 50 pixels, each of which hangs together
frag           instances that lie in such a piece
ids, sw        names given, and changes of a piece's name from one frame to the next
IDF1, IDsw     names kept by whole trajectories; things found under another name than before
parted, wrong  things that met and parted again; per cent of them that had another name then

OUT/SEQUENCE/FRAME.png are indexed masks at frame size, OUT/SEQUENCE.json says how they were made;
beside them stand fixed_results.csv and report.json. Sequences that are finished are not run again."
)]
pub(in super::super) struct Args {
    /// The folder of the set
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Only these sequences or categories, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    sequences: Vec<String>,
    /// What is judged: all, or the first or the second half. What comes before the second half is run all the same
    #[arg(long, value_enum, default_value_t, value_name = "PART")]
    part: Part,
    /// Frames a second of the sequences: tracking knows by it how much time passes
    #[arg(long, value_name = "FPS", default_value_t = PICTURES_A_SECOND, value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Run and judge only every Nth frame, as an engine does that is too slow for all of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    every: u32,
    /// Leave parts of the method out, separated by commas, to see what they are worth
    #[arg(long, value_delimiter = ',', value_name = "PARTS", conflicts_with = "results", value_parser = one_of(&Ablation::NAMES, configured::<Ablation>))]
    without: Vec<Ablation>,
    /// Also write DIR/SEQUENCE.npy for each sequence that is run: the cues of some of its pixels beside the truth. The weights of
    /// the evidence are fitted on them, see benches/fixed/fit_evidence.py
    #[arg(long, value_name = "DIR", conflicts_with = "results")]
    cues: Option<PathBuf>,
    #[command(flatten)]
    network: Network,
    #[command(flatten)]
    results: Results,
    /// Also write OUT/SEQUENCE.mp4: the frames with the masks drawn over them
    #[arg(long)]
    overlay: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut set = Set::find(&args.root).or_exit(Exit::Data)?;
    if !args.sequences.is_empty() {
        set.select(&args.sequences).or_exit(Exit::Config)?;
    }
    let cut = Cut { part: args.part, every: args.every as usize };
    let sequences = set.sequences(cut).or_exit(Exit::Data)?;
    let folders = args.results.folders()?;
    check_outputs(&args, &sequences, &folders).or_exit(Exit::Config)?;
    let (results, out) = (&folders.masks, &folders.out);
    fixed::check(&sequences).or_exit(Exit::Data)?;
    let made = if folders.runs { Some(segment(&args, &sequences, out)?) } else { None };
    let bar = progress::bar(Some(sequences.iter().map(|sequence| sequence.judged().count()).sum()));
    let figures = fixed::judge(&sequences, results, &|| bar.inc(1));
    bar.finish_and_clear();
    let figures = figures.or_exit(Exit::Data)?;
    let markers = made.as_ref().map_or(&[][..], |made| &made.markers);
    let mut report = Report::new(set.root(), results, cut, &sequences, figures, markers);
    if let Some(made) = made {
        (report.settings, report.device) = (Some(made.settings), Some(made.device));
    }
    std::fs::create_dir_all(out).or_exit(Exit::Io)?;
    print!("{}", report.for_people());
    report.write(out).or_exit(Exit::Io)?;
    println!("\ntable and report in {}", out.display());
    if args.overlay {
        draw(&args, &sequences, results, out)?;
    }
    Ok(())
}

/// Refuses a folder for outputs that lies within the set, and a table, a report and videos that must stay.
fn check_outputs(args: &Args, sequences: &[Sequence], folders: &Folders) -> Result<()> {
    let mut inputs = Inputs::default();
    inputs.add_tree("the set", &args.root);
    for sequence in sequences {
        // Links lead out of that tree.
        let (frames, truths) = (sequence.layout.frames(&sequence.folder), sequence.layout.truths(&sequence.folder));
        inputs.add_tree("the frames", &frames);
        inputs.add_tree("the truth", &truths);
        inputs.add_tree("the sequence", &sequence.folder);
    }
    add_weights(&mut inputs, "--weights", args.network.weights.as_deref());
    folders.keep_apart(&inputs, sequences.iter().map(|sequence| sequence.name.as_str()))?;
    for sequence in sequences.iter().filter(|_| args.overlay) {
        let path = video(&folders.out, sequence);
        inputs.refuse(folders.role, &path)?;
        files::check_target(&path, &is_own_mp4)?;
    }
    for sequence in sequences {
        let Some(folder) = &args.cues else { break };
        let path = Cues::path(folder, sequence);
        inputs.refuse("--cues", &path)?;
        files::check_target(&path, &fixed::is_cues)?;
    }
    Ok(fixed::check_written(&folders.out)?)
}

/// Masks that were made, and by what.
struct Made {
    markers: Vec<Marker>,
    settings: Map<String, serde_json::Value>,
    device: String,
}

/// Runs the sequences that are not finished.
fn segment(args: &Args, sequences: &[Sequence], out: &Path) -> Result<Made, Failure> {
    let preset = Preset::Best;
    let mut tracker = preset.tracker(Start::Discovery);
    tracker.fixed.without.clone_from(&args.without);
    let backbone = args.network.load(preset.block())?;
    let device = backbone.device();
    let mut settings = Map::from_iter([
        ("task".to_owned(), json!("fixed")),
        ("model".to_owned(), json!(backbone.model_id())),
        ("weights".to_owned(), json!(args.network.weights)),
        ("short_side".to_owned(), json!(args.network.short_side)),
        ("fps".to_owned(), json!(args.fps)),
        ("every".to_owned(), json!(args.every)),
        ("tracker".to_owned(), as_json(&tracker)?),
    ]);
    if !args.without.is_empty() {
        settings.insert("without".to_owned(), as_json(&args.without)?);
    }
    let mut fingerprint = settings.clone();
    // The model says what is in the file, whatever the file is called.
    fingerprint.remove("weights");
    let plan = RunPlan { out: out.to_owned(), settings: fingerprint, again: args.results.again };
    let remaining = plan.remaining(sequences).or_exit(Exit::Config)?;
    std::fs::create_dir_all(out).or_exit(Exit::Io)?;
    let (all, left) = (sequences.len(), remaining.len());
    eprintln!("{} on {device}; {left} of {all} sequences to run, {} finished", backbone.model_id(), all - left);

    let bar = bar(remaining.iter().copied());
    let mut engine = Engine::new(backbone, tracker);
    for sequence in &remaining {
        bar.set_message(sequence.name.clone());
        let mut cues = Cues::default();
        let on_frame = &mut |shot: &Shot, tracker: &Tracker| {
            bar.inc(1);
            if args.cues.is_some() { cues.take(shot, &tracker.inspect().view) } else { Ok(()) }
        };
        fixed::run(&plan, &mut engine, sequence, (args.fps, args.every), on_frame).map_err(failed)?;
        if let Some(folder) = &args.cues {
            cues.write(&Cues::path(folder, sequence)).or_exit(Exit::Io)?;
        }
    }
    bar.finish_and_clear();
    let markers: Result<Vec<Marker>> = sequences.iter().map(|sequence| plan.marker(sequence)).collect();
    Ok(Made { markers: markers.or_exit(Exit::Data)?, settings, device })
}

/// Where the video of a sequence goes.
fn video(out: &Path, sequence: &Sequence) -> PathBuf {
    out.join(format!("{}.mp4", sequence.name))
}

/// Writes the frames of each sequence with its masks drawn over them. Frames that were not judged may have no mask of others.
fn draw(args: &Args, sequences: &[Sequence], results: &Path, out: &Path) -> Result<(), Failure> {
    let bar = bar(sequences);
    for sequence in sequences {
        let path = video(out, sequence);
        bar.set_message(path.display().to_string());
        let folder = path.parent().unwrap_or(out);
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string()).or_exit(Exit::Io)?;
        let clip = sequence.clip().or_exit(Exit::Data)?;
        let size = clip.size();
        let mut writer = Mp4Writer::create(&path, size, (args.fps, args.every)).or_exit(Exit::Io)?;
        for (index, frame) in clip.enumerate() {
            let mut rgb = frame.or_exit(Exit::Data)?.rgb.to_vec();
            let mask = sequence.result_path(results, index);
            if mask.is_file() {
                overlay(&mut rgb, &fixed::palette_indices(&mask).or_exit(Exit::Data)?);
            }
            writer.push(&rgb).or_exit(Exit::Io)?;
            bar.inc(1);
        }
        writer.finish().or_exit(Exit::Io)?;
    }
    bar.finish_and_clear();
    println!("overlays in {}", out.display());
    Ok(())
}
