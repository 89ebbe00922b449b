//! How good the network is by now, by what it will be used for: masks that its features propagate, neighbours of its
//! `[CLS]`, and pictures of where it looks.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use image::RgbImage;
use maskd_eval::{self as davis, Dataset, RunPlan, Task};
use maskd_ingest::Clip;
use maskd_model::{
    attention,
    backbone::{Backbone, BackboneConfig, BlockChoice, DeviceChoice, PROPAGATION_BLOCK},
};
use maskd_tracking::{
    engine::Engine,
    preset::{Preset, Start},
};
use maskd_types::{files, frame::StreamId};

use super::neighbours::Labelled;
use crate::{
    method::{ExportedModel, Method},
    quality::QualityConfig,
    report::{Observer, Quality},
};

/// Share of the attention that a probe's mask keeps, as in the paper.
const MASS: f32 = 0.6;

/// Measures quality at each checkpoint.
pub struct Evaluator {
    davis: Option<Dataset>,
    labelled: Option<Labelled>,
    probes: Vec<PathBuf>,
    short_side: u32,
    device: DeviceChoice,
    /// Where pictures of probes go.
    folder: PathBuf,
}

impl Evaluator {
    /// Opens what `config` names, and checks all of it; `probes` where it names none. Pictures go to `folder`.
    ///
    /// # Errors
    /// A set, a folder or a probe that cannot be used.
    pub fn open(config: &QualityConfig, probes: &[PathBuf], device: DeviceChoice, folder: &Path) -> Result<Self> {
        let davis = match config.davis.as_str() {
            "" => None,
            root => {
                let mut set =
                    Dataset::open(Path::new(root), &config.davis_set, Task::SemiSupervised).context("quality.davis")?;
                if !config.davis_sequences.is_empty() {
                    set.select(&config.davis_sequences).context("quality.davis_sequences")?;
                }
                set.truncate(config.davis_frames);
                davis::check(&set.sequences.iter().collect::<Vec<_>>(), set.task).context("quality.davis")?;
                Some(set)
            }
        };
        for probe in &config.probes {
            picture_of(probe).context("quality.probes")?;
        }
        Ok(Self {
            davis,
            labelled: (!config.knn.is_empty()).then(|| Labelled::open(Path::new(&config.knn))).transpose()?,
            probes: if config.probes.is_empty() { probes } else { &config.probes }.to_vec(),
            short_side: config.short_side,
            device,
            folder: folder.to_owned(),
        })
    }

    fn measure(&self, step: u64, learner: &dyn Method) -> Result<Quality> {
        let place = tempfile::tempdir().context("a temporary folder")?;
        let weights = place.path().join("weights.safetensors");
        write_product(learner.product(), &weights)?;
        let preset = learner.preset();
        let backbone = Backbone::load(&BackboneConfig {
            weights: Some(weights),
            device: self.device,
            short_side: self.short_side,
            propagation_block: preset.block(),
            ..BackboneConfig::default()
        })?;
        let probes = self.draw_probes(step, &backbone)?;
        let j = self.davis.as_ref().map(|set| propagate(set, backbone, preset, place.path())).transpose()?;
        let knn = match &self.labelled {
            Some(labelled) => {
                Some(labelled.accuracy(&|images| learner.cls(images), learner.product().architecture.patch)?)
            }
            None => None,
        };
        Ok(Quality { j, knn, probes })
    }

    /// One picture: a row for each probe, with the frame and each head's attention.
    fn draw_probes(&self, step: u64, backbone: &Backbone) -> Result<Option<PathBuf>> {
        let mut sheets = Vec::new();
        for probe in &self.probes {
            // A picture of the data that cannot be read is the loader's to report.
            let Ok((picture, frame)) = picture_of(probe) else { continue };
            let input = backbone.prepare(&[&frame], backbone.input_size(frame.source))?;
            for found in backbone.attention(&input, BlockChoice::Last)? {
                sheets.push(attention::sheet(&picture, &found, MASS));
            }
        }
        let (width, height) =
            sheets.iter().fold((0, 0), |(w, h), s: &RgbImage| (s.width().max(w), h + i64::from(s.height())));
        if sheets.is_empty() {
            return Ok(None);
        }
        let mut all = RgbImage::new(width, height as u32);
        let mut y = 0;
        for sheet in &sheets {
            image::imageops::replace(&mut all, sheet, 0, y);
            y += i64::from(sheet.height());
        }
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let path = self.folder.join(format!("step-{step:08}.png"));
        attention::write_png(&all, &path)?;
        Ok(Some(path))
    }
}

impl Observer for Evaluator {
    /// A measure that fails is named and left out: it must not end a training whose state is sound.
    fn on_checkpoint(&mut self, step: u64, learner: &dyn Method) -> Result<Option<Quality>> {
        match self.measure(step, learner) {
            Ok(quality) => Ok(Some(quality)),
            Err(e) => {
                tracing::warn!("quality at step {step}: not measured: {e:#}");
                Ok(None)
            }
        }
    }
}

/// Mean J of label propagation over the set.
fn propagate(set: &Dataset, backbone: Backbone, preset: Preset, place: &Path) -> Result<f64> {
    let mut engine = Engine::new(backbone, preset.tracker(Start::FirstMask));
    let plan = RunPlan { out: place.join("masks"), settings: serde_json::Map::new(), again: true };
    std::fs::create_dir_all(&plan.out)?;
    for sequence in &set.sequences {
        plan.run(&mut engine, set.task, sequence, &mut || ())?;
    }
    Ok(davis::semi_supervised(set, &plan.out, &|| ())?.j.mean)
}

/// The first frame of a picture or a video.
fn picture_of(path: &Path) -> Result<(RgbImage, maskd_types::frame::Frame)> {
    let what = || path.display().to_string();
    let frame = Clip::open(path)?.next().with_context(what)??;
    let picture = RgbImage::from_raw(frame.size.width, frame.size.height, frame.rgb.to_vec()).with_context(what)?;
    let stream: StreamId = "probe".parse()?;
    Ok((picture, frame.to_frame(&stream, 0)))
}

/// The network as weights that `maskd` reads.
fn write_product(product: ExportedModel, path: &Path) -> Result<()> {
    let ExportedModel { architecture, tensors, propagation_block } = product;
    let block = propagation_block.map(|block| (PROPAGATION_BLOCK.to_owned(), block.to_string()));
    let about = [("heads".to_owned(), architecture.heads.to_string())].into_iter().chain(block).collect();
    files::write_durably(path, &|_| Ok(false), |part| Ok(safetensors::serialize_to_file(&tensors, Some(about), part)?))
}
