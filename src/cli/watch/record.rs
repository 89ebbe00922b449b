//! A video of what a daemon sees: the pictures that it draws, at an even rate.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use image::{ImageFormat, ImageReader, Limits, RgbImage, imageops::FilterType};

use maskd_ingest::Mp4Writer;
use maskd_protocol::keys::Site;
use maskd_types::frame::{Size, StreamId};

/// Pictures a second in the video: a picture stays until the next one came.
const FPS: u32 = 10;
/// A longer silence is cut down to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Pixels of a picture's longer side: far more than a daemon draws.
const MAX_SIDE: u32 = 8192;

/// Records one stream.
pub(super) struct Recorder {
    path: PathBuf,
    film: Option<Film>,
}

struct Film {
    of: (Site, StreamId),
    writer: Mp4Writer,
    shown: RgbImage,
    came: Instant,
    /// What the rounding to whole pictures has not shown yet.
    owed: Duration,
    pictures: u64,
}

impl Recorder {
    /// A recorder that will write to `path`.
    ///
    /// # Errors
    /// The folder is not there.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        ensure!(folder.is_dir(), "{}: there is no folder {}", path.display(), folder.display());
        Ok(Self { path: path.to_owned(), film: None })
    }

    /// Takes in a picture that came at `now`. Pictures of other streams than the first one's are left out.
    ///
    /// # Errors
    /// The video cannot be written. A picture that cannot be read is left out.
    pub(super) fn take(&mut self, now: Instant, of: (&Site, &StreamId), jpeg: &[u8]) -> Result<()> {
        if self.film.as_ref().is_some_and(|film| (&film.of.0, &film.of.1) != of) {
            return Ok(());
        }
        let Some(picture) = decode(jpeg) else {
            tracing::debug!(stream = %of.1, "a preview that is no picture");
            return Ok(());
        };
        match &mut self.film {
            Some(film) => film.turn_to(now, picture),
            None => {
                let writer = Mp4Writer::create(&self.path, Size::new(picture.width(), picture.height()), (FPS, 1))?;
                let of = (of.0.clone(), of.1.clone());
                self.film = Some(Film { of, writer, shown: picture, came: now, owed: Duration::ZERO, pictures: 0 });
                Ok(())
            }
        }
    }

    /// Finishes the video and says what it holds.
    ///
    /// # Errors
    /// Nothing was recorded, or it cannot be written.
    pub(super) fn finish(self) -> Result<String> {
        let nothing = || format!("{}: not written, for no picture came", self.path.display());
        let mut film = self.film.with_context(nothing)?;
        film.show(1)?;
        let (seconds, (site, stream)) = (film.pictures as f64 / f64::from(FPS), &film.of);
        let said = format!("{seconds:.0} s of {site}/{stream} in {}", self.path.display());
        film.writer.finish()?;
        Ok(said)
    }
}

impl Film {
    /// Shows the picture so far for the time that it stayed, then goes on with `picture`.
    fn turn_to(&mut self, now: Instant, picture: RgbImage) -> Result<()> {
        let stayed = self.owed + now.saturating_duration_since(self.came).min(LONGEST_PAUSE);
        let whole = (stayed.as_secs_f64() * f64::from(FPS)) as u32;
        self.show(whole)?;
        self.owed = stayed.saturating_sub(Duration::from_secs(1) * whole / FPS);
        self.came = now;
        let (width, height) = self.shown.dimensions();
        // The camera changed its resolution: the video keeps its own.
        let other = picture.dimensions() != (width, height);
        self.shown =
            if other { image::imageops::resize(&picture, width, height, FilterType::Triangle) } else { picture };
        Ok(())
    }

    fn show(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            self.writer.push(self.shown.as_raw())?;
        }
        self.pictures += u64::from(times);
        Ok(())
    }
}

/// The picture in `jpeg`, if it is one.
fn decode(jpeg: &[u8]) -> Option<RgbImage> {
    let mut reader = ImageReader::with_format(Cursor::new(jpeg), ImageFormat::Jpeg);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    reader.decode().ok().map(image::DynamicImage::into_rgb8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use maskd_ingest::Clip;

    fn jpeg(width: u32, height: u32, grey: u8) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::from_pixel(width, height, image::Rgb([grey; 3])).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_picture_stays_until_the_next_one_and_a_long_silence_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen.mp4");
        let (site, gate, other): (Site, StreamId, StreamId) =
            ("yard".parse().unwrap(), "gate".parse().unwrap(), "other".parse().unwrap());
        let mut recorder = Recorder::new(&path).unwrap();
        let start = Instant::now();
        let mut at = |ms, stream, jpeg: &[u8]| recorder.take(start + Duration::from_millis(ms), (&site, stream), jpeg);
        at(0, &gate, b"no picture").unwrap();
        at(0, &gate, &jpeg(64, 48, 0)).unwrap();
        at(100, &other, &jpeg(32, 32, 90)).unwrap();
        // 0.35 s make three pictures and owe half of one, which the next quarter of a second pays.
        at(350, &gate, &jpeg(64, 48, 120)).unwrap();
        at(600, &gate, &jpeg(32, 24, 250)).unwrap();
        // An hour is shown as five seconds.
        at(3_600_600, &gate, &jpeg(64, 48, 0)).unwrap();
        assert!(recorder.finish().unwrap().contains("yard/gate"));
        let greys: Vec<u8> = Clip::open(&path).unwrap().map(|frame| frame.unwrap().rgb[1500]).collect();
        let near = |grey: u8| greys.iter().filter(|g| g.abs_diff(grey) < 20).count();
        assert_eq!((near(0), near(120), near(250)), (4, 3, 50), "{greys:?}");
    }

    #[test]
    fn nothing_seen_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen.mp4");
        let error = Recorder::new(&path).unwrap().finish().unwrap_err().to_string();
        assert!(error.contains("seen.mp4") && !path.exists(), "{error}");
        assert!(Recorder::new(&folder.path().join("gone/seen.mp4")).is_err());
    }
}
