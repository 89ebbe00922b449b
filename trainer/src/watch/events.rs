//! TensorBoard event files: TFRecord frames (length, masked CRC-32C, bytes, masked CRC-32C) around `Event` messages, of
//! which only the fields that are written stand here (tensorflow/core/util/event.proto, framework/summary.proto).

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use crate::report::{Observer, Quality, StepReport};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// `SessionLog.START`: a reader then forgets what it has of this step and later ones.
const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<Session>,
}

#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Picture>,
}

#[derive(Clone, PartialEq, Message)]
struct Picture {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 3: RGB.
    #[prost(int32, tag = "3")]
    colours: i32,
    /// The bytes of a PNG.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

fn scalar((tag, value): (&str, f64)) -> Entry {
    Entry { tag: tag.to_owned(), value: Some(value as f32), image: None }
}

fn picture(path: &Path) -> Result<Entry> {
    let (width, height) = image::image_dimensions(path)?;
    let image = Picture { height: height as i32, width: width as i32, colours: 3, encoded: fs::read(path)? };
    Ok(Entry { tag: "probes/attention".to_owned(), value: None, image: Some(image) })
}

/// Writes the scalars of every report with diagnostics, and quality with its pictures.
pub struct TensorBoard {
    file: File,
}

impl TensorBoard {
    /// Begins a new event file in `folder` for a run that is at `step`. What earlier files say of later steps, from a run
    /// that was cut off after its last checkpoint, is void: those steps will be done again.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(folder: &Path, step: u64) -> Result<Self> {
        let what = || folder.display().to_string();
        fs::create_dir_all(folder).with_context(what)?;
        // Readers take files in the order of names; nanoseconds and the process keep them apart.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        let (seconds, nanos) = (now.as_secs(), now.subsec_nanos());
        let name = format!("events.out.tfevents.{seconds:010}.{nanos:09}.{}", std::process::id());
        let mut this = Self { file: File::create_new(folder.join(name)).with_context(what)? };
        this.write(Event { file_version: Some("brain.Event:2".to_owned()), ..Event::default() }).with_context(what)?;
        let first = Event { step: step as i64 + 1, session: Some(Session { status: START }), ..Event::default() };
        this.write(first).with_context(what)?;
        Ok(this)
    }

    fn add(&mut self, step: u64, values: Vec<Entry>) {
        // As with the log: a full disk leaves a gap, and does not end the training.
        if let Err(e) = self.write(Event { step: step as i64, summary: Some(Summary { values }), ..Event::default() }) {
            tracing::warn!("tensorboard: step {step} is not in it: {e}");
        }
    }

    fn write(&mut self, mut event: Event) -> std::io::Result<()> {
        event.wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        self.file.write_all(&frame(&event.encode_to_vec()))
    }
}

impl Observer for TensorBoard {
    fn observe(&mut self, report: &StepReport) -> Result<()> {
        if !report.is_observed() {
            return Ok(());
        }
        let dino = report.health.as_ref().map(|health| {
            [
                ("loss/of_ln_k", report.mean_loss / health.uniform),
                ("teacher/entropy", health.teacher_entropy),
                ("teacher/usage_entropy", health.usage_entropy),
                ("teacher/kl", health.kl),
                ("teacher/centre_norm", health.centre_norm),
                ("teacher/rank", health.rank),
            ]
        });
        let distillation = report.agreement.as_ref().map(|agreement| {
            [
                ("student/propagation", agreement.propagation),
                ("student/affinity", agreement.affinity),
                ("student/discovery", agreement.discovery),
            ]
        });
        let maybe = [
            ("teacher/momentum", report.teacher_momentum),
            ("teacher/temperature", report.teacher_temperature),
            ("optim/gradient_norm", report.gradient_norm),
        ];
        let scalars = [
            ("loss/mean", report.mean_loss),
            ("optim/lr", report.lr),
            ("optim/weight_decay", report.weight_decay),
            ("speed/images_per_second", report.images_per_second),
            ("speed/waiting", report.waiting),
        ];
        let maybe = maybe.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
        let all = scalars.into_iter().chain(dino.into_iter().flatten()).chain(distillation.into_iter().flatten());
        self.add(report.step, all.chain(maybe).map(scalar).collect());
        Ok(())
    }

    fn on_quality(&mut self, step: u64, quality: &Quality) -> Result<()> {
        let scalars = [("quality/j", quality.j), ("quality/knn", quality.knn)];
        let scalars = scalars.into_iter().filter_map(|(tag, value)| Some(scalar((tag, value?))));
        let pictures = quality.probes.iter().filter_map(|path| {
            picture(path).inspect_err(|e| tracing::warn!("tensorboard: {}: {e:#}", path.display())).ok()
        });
        self.add(step, scalars.chain(pictures).collect());
        Ok(())
    }
}

/// The checksum as TFRecord stores it.
fn masked(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Event> {
        let (mut rest, mut events) = (bytes, Vec::new());
        let word = |b: &[u8]| u32::from_le_bytes(b[..4].try_into().unwrap());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(word(&rest[8..]), masked(&rest[..8]));
            let data = &rest[12..12 + length];
            assert_eq!(word(&rest[12 + length..]), masked(data));
            events.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_resumed_run_goes_on_in_a_new_file_that_voids_later_steps() {
        let folder = tempfile::tempdir().unwrap();
        drop(TensorBoard::create(folder.path(), 0).unwrap());
        drop(TensorBoard::create(folder.path(), 6).unwrap());
        let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), 2);
        for (file, first) in files.iter().zip([1, 7]) {
            let events = read(&fs::read(file).unwrap());
            assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
            assert_eq!((events[1].step, events[1].session.as_ref().map(|s| s.status)), (first, Some(START)));
        }
    }
}
