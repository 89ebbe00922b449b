//! `maskd attention`: where the network's `[CLS]` token looks, as pictures.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args as ClapArgs;
use image::RgbImage;

use super::{
    Exit, Failure, OrExit as _,
    inputs::{self, FrameNames, PICTURES_A_SECOND},
    options::{Length, Network},
    progress::bar,
    segment::pictures,
};
use maskd_ingest::{Clip, ClipFrame, Mp4Writer, is_own_mp4};
use maskd_model::{
    attention,
    backbone::{Attention, Backbone, BlockChoice},
};
use maskd_types::{
    files::{self, Inputs},
    frame::{Size, StreamId},
    mask::is_own_png,
};

/// Draw where the network looks: the attention of [CLS] to each patch, head by head
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples:
  maskd attention photo.jpg --out looks
  maskd attention street.mp4 --out looks --max-frames 100      also looks/attention.mp4
  maskd attention photo.jpg --out looks --block 8

For each frame, OUT/NAME/ holds head-01.png, ... and mean.png (heat maps at the frame's size), mask-01.png, ... and
mask-mean.png (indexed; label 1 is the fewest patches with 60 % of the attention) and sheet.png, all of it at a glance.")]
pub(super) struct Args {
    /// A picture, a video file, or a folder of .jpg or .png frames
    input: PathBuf,
    /// Where the pictures go; made if absent
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    network: Network,
    /// The block to look into: a number from 1, or 'last'
    #[arg(long, value_name = "BLOCK", default_value = "last")]
    block: BlockChoice,
    #[command(flatten)]
    length: Length,
    /// The share of the attention that a mask keeps, above 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.6, value_parser = parse_mass)]
    mass: f32,
    /// A video of frame and mean attention side by side; OUT/attention.mp4 where the input is a video
    #[arg(long, value_name = "MP4")]
    overlay: Option<PathBuf>,
    /// Replace pictures and a video that maskd made earlier. What it did not make, or reads, is never replaced
    #[arg(long)]
    overwrite: bool,
}

fn parse_mass(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(mass) if mass > 0.0 && mass <= 1.0 => Ok(mass),
        _ => Err(format!("{text:?} is not a share above 0 and up to 1")),
    }
}

/// Inputs and outputs are checked before anything is written.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut clip = Clip::open(&args.input).or_exit(Exit::Data)?;
    let overlay = match &args.overlay {
        None if clip.is_video() => Some(args.out.join("attention.mp4")),
        given => given.clone(),
    };
    let inputs = check_outputs(&args, &clip, overlay.as_deref()).or_exit(Exit::Config)?;
    let first = inputs::first_frame(&mut clip, &args.input)?;
    let backbone = Backbone::load(&args.network.config()).or_exit(Exit::Config)?;
    check_block(args.block, &backbone).or_exit(Exit::Config)?;
    std::fs::create_dir_all(&args.out).or_exit(Exit::Io)?;
    let size = Size::new(2 * first.size.width, first.size.height);
    let fps = clip.fps().unwrap_or((PICTURES_A_SECOND, 1));
    let video = overlay.as_ref().map(|path| Mp4Writer::create(path, size, fps));
    let mut video = video.transpose().or_exit(Exit::Io)?;

    eprintln!("{} on {}, seen at {}", backbone.model_id(), backbone.device(), backbone.input_size(first.size));
    let bar = bar(args.length.of(clip.len_hint()));
    let stream: StreamId = "attention".parse().or_exit(Exit::Internal)?;
    let mut frames = 0;
    for clip_frame in std::iter::once(Ok(first)).chain(clip).take(args.length.most()) {
        let clip_frame = clip_frame.or_exit(Exit::Data)?;
        let frame = clip_frame.to_frame(&stream, frames);
        let input = backbone.prepare(&[&frame], backbone.input_size(frame.source)).or_exit(Exit::Internal)?;
        let found = backbone.attention(&input, args.block).or_exit(Exit::Internal)?;
        for attention in &found {
            let both = draw(&args, &inputs, &clip_frame, attention)?;
            if let Some(video) = &mut video {
                video.push(&both).or_exit(Exit::Io)?;
            }
        }
        frames += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(video) = video {
        video.finish().or_exit(Exit::Io)?;
    }
    println!("{frames} frames, pictures in {}", args.out.display());
    if let Some(path) = overlay {
        println!("video in {}", path.display());
    }
    Ok(())
}

fn check_block(block: BlockChoice, backbone: &Backbone) -> anyhow::Result<()> {
    let arch = backbone.architecture();
    match block {
        BlockChoice::Number(block) if !(1..=arch.depth).contains(&block) => {
            bail!("--block {block}: {arch} has blocks 1 to {}", arch.depth)
        }
        _ => Ok(()),
    }
}

/// What messages call the folder of a frame's pictures.
const FOLDER: &str = "the folder";

/// Notes what is read, and refuses outputs that are among it or would replace what must stay.
fn check_outputs(args: &Args, clip: &Clip, overlay: Option<&Path>) -> anyhow::Result<Inputs> {
    let inputs = inputs::of_clip(&args.input, clip, args.network.weights.as_deref());
    inputs.refuse("--out", &args.out)?;
    let check = |path: &Path, is_ours: &dyn Fn(&Path) -> std::io::Result<bool>| match args.overwrite {
        true => files::check_target(path, is_ours).map(drop),
        false => files::check_new(path, is_ours, "give another path, or --overwrite"),
    };
    if let Some(path) = overlay {
        inputs.refuse("--overlay", path)?;
        check(path, &is_own_mp4)?;
    }
    let names = FrameNames::of(clip, args.length.most());
    for entry in std::fs::read_dir(&args.out).into_iter().flatten().flatten() {
        if !names.hold(&entry.file_name().to_string_lossy()) {
            continue;
        }
        inputs.refuse(FOLDER, &entry.path())?;
        for picture in pictures(&entry.path())? {
            let name = picture.file_stem().unwrap_or_default().to_string_lossy();
            if name == "mean" || name == "sheet" || name.starts_with("head-") || name.starts_with("mask-") {
                inputs.refuse("the picture", &picture)?;
                check(&picture, &is_own_png)?;
            }
        }
    }
    Ok(inputs)
}

/// Writes the pictures of one frame; the frame and the mean side by side, `(height, 2 width, 3)`.
fn draw(args: &Args, inputs: &Inputs, frame: &ClipFrame, found: &Attention) -> Result<Vec<u8>, Failure> {
    let Size { width, height } = frame.size;
    let picture = RgbImage::from_raw(width, height, frame.rgb.to_vec());
    let picture = picture.ok_or_else(|| Failure::new(Exit::Internal, anyhow::anyhow!("a frame is not of its size")))?;
    let folder = args.out.join(&frame.name);
    inputs.refuse(FOLDER, &folder).or_exit(Exit::Config)?;
    std::fs::create_dir_all(&folder).or_exit(Exit::Io)?;
    let mean = attention::mean(found);
    let heads = found.heads.iter().zip(1..).map(|(values, head)| (values, format!("{head:02}")));
    for (values, name) in heads.chain([(&mean, "mean".to_owned())]) {
        let heat = attention::heat_map(values, found.grid, frame.size);
        let mask = attention::mask_at(&attention::mass_mask(values, args.mass), found.grid, frame.size);
        let heat_name = if name == "mean" { "mean.png".to_owned() } else { format!("head-{name}.png") };
        write(&heat, &folder.join(heat_name))?;
        mask.write_png(&folder.join(format!("mask-{name}.png"))).or_exit(Exit::Io)?;
    }
    write(&attention::sheet(&picture, found, args.mass), &folder.join("sheet.png"))?;
    Ok(attention::beside(&picture, &attention::heat_map(&mean, found.grid, frame.size)).into_raw())
}

fn write(picture: &RgbImage, path: &Path) -> Result<(), Failure> {
    attention::write_png(picture, path).or_exit(Exit::Io)
}
