//! Recorded pictures for the offline commands: every frame of a video file or a folder, at full size, in order.

mod video;

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};

use maskd_types::{
    frame::{Frame, Quality, Size, StreamId},
    picture::{self, MOST_PIXELS},
};
use video::Video;

/// One picture of a clip, upright as people see it.
#[derive(Clone)]
pub struct ClipFrame {
    /// The file's name without its extension; for a video, the frame's number in five digits.
    pub name: String,
    /// Pixels, `(height, width, 3)`, 8-bit RGB, no padding.
    pub rgb: Arc<[u8]>,
    /// Size of the picture; the same for all frames of a clip.
    pub size: Size,
    /// Presentation timestamp in nanoseconds; pictures in files of their own have none unless [`Clip::at`] gives them one.
    pub pts_ns: Option<u64>,
}

impl ClipFrame {
    /// The frame for the engine, as if captured now.
    pub fn to_frame(&self, stream: &StreamId, sequence: u64) -> Frame {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Frame {
            stream: stream.clone(),
            rgb: Arc::clone(&self.rgb),
            size: self.size,
            source: self.size,
            pts_ns: self.pts_ns,
            captured_unix_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            captured: Instant::now(),
            sequence,
            epoch: 0,
            quality: Quality::FULL,
        }
    }
}

/// A picture, a video file or a folder of `.jpg` and `.png` pictures. Iterating yields its frames; after an error, nothing more.
pub struct Clip {
    source: Frames,
    size: Size,
    len_hint: Option<usize>,
    fps: Option<(u32, u32)>,
}

enum Frames {
    Folder(Pictures),
    Video(Box<Video>),
    Over,
}

/// Files that hold a picture each.
struct Pictures {
    left: std::vec::IntoIter<PathBuf>,
    /// Pictures a second as numerator and denominator, where somebody said so.
    rate: Option<(u32, u32)>,
    taken: u64,
}

impl Pictures {
    fn next(&mut self, size: Size) -> Option<Result<ClipFrame>> {
        let path = self.left.next()?;
        let time = |(numer, denom)| 1_000_000_000 * self.taken * u64::from(denom) / u64::from(u32::max(numer, 1));
        let pts_ns = self.rate.map(time);
        self.taken += 1;
        Some(read_picture(&path, size).map(|frame| ClipFrame { pts_ns, ..frame }))
    }
}

impl Clip {
    /// Opens `path`. Errors name the file: nothing there, no pictures in the folder, pictures of different sizes,
    /// no video in the file, a file that is no video.
    pub fn open(path: &Path) -> Result<Self> {
        let kind = fs::metadata(path).with_context(|| path.display().to_string())?;
        if kind.is_dir() {
            return Self::folder(path);
        }
        if picture::is_named_so(path) { Self::pictures(vec![path.to_owned()]) } else { Self::video(path) }
    }

    fn folder(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry.with_context(|| folder.display().to_string())?.path();
            if picture::is_named_so(&path) && !stem(&path).starts_with('.') {
                files.push(path);
            }
        }
        files.sort_by(|a, b| natural(&stem(a), &stem(b)).then_with(|| a.cmp(b)));
        // Masks are named after their frames.
        if let Some(pair) = files.windows(2).find(|pair| stem(&pair[0]) == stem(&pair[1])) {
            bail!("{} and {} have one name: keep one of them", pair[0].display(), pair[1].display());
        }
        ensure!(!files.is_empty(), "{}: no .jpg or .png files in this folder", folder.display());
        Self::pictures(files)
    }

    /// The pictures in `files`, in this order. Errors name the file: one that is no picture or of another size than the
    /// first.
    pub fn pictures(files: Vec<PathBuf>) -> Result<Self> {
        let size = files.first().map_or(Ok(Size::new(0, 0)), |first| dimensions(first))?;
        // Headers only, but of all of them: better now than after an hour's work.
        for file in &files {
            let other = dimensions(file)?;
            ensure!(other == size, "{}: is {other}, but the first picture is {size}", file.display());
        }
        let len_hint = Some(files.len());
        let pictures = Pictures { left: files.into_iter(), rate: None, taken: 0 };
        Ok(Self { source: Frames::Folder(pictures), size, len_hint, fps: None })
    }

    /// Says how many pictures a second there are, as numerator and denominator, where the clip is pictures in files of
    /// their own: each gets its time, the first 0. A video tells its own times, and keeps them.
    #[must_use]
    pub fn at(mut self, rate: (u32, u32)) -> Self {
        if let Frames::Folder(pictures) = &mut self.source {
            pictures.rate = Some(rate);
            self.fps = Some(rate);
        }
        self
    }

    fn video(path: &Path) -> Result<Self> {
        let video = Video::open(path).with_context(|| path.display().to_string())?;
        let (size, len_hint, fps) = (video.size, video.len_hint, video.fps);
        Ok(Self { source: Frames::Video(Box::new(video)), size, len_hint, fps })
    }

    /// Size of every frame.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Whether it is a video and not pictures in files of their own.
    pub fn is_video(&self) -> bool {
        matches!(self.source, Frames::Video(_))
    }

    /// The files that frames are yet to come from: pictures in order, or the video.
    pub fn files(&self) -> &[PathBuf] {
        match &self.source {
            Frames::Folder(pictures) => pictures.left.as_slice(),
            Frames::Video(video) => std::slice::from_ref(&video.path),
            Frames::Over => &[],
        }
    }

    /// How many frames there are, for a progress bar: exact for a folder, an estimate for a video.
    pub fn len_hint(&self) -> Option<usize> {
        self.len_hint
    }

    /// Frames a second as numerator and denominator; none for a video that does not say, and for pictures unless
    /// [`Clip::at`] said so.
    pub fn fps(&self) -> Option<(u32, u32)> {
        self.fps
    }
}

impl Iterator for Clip {
    type Item = Result<ClipFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.source {
            Frames::Folder(pictures) => pictures.next(self.size),
            Frames::Video(video) => video.next().map(|next| next.with_context(|| video.path.display().to_string())),
            Frames::Over => None,
        };
        if !matches!(next, Some(Ok(_))) {
            self.source = Frames::Over;
        }
        next
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn dimensions(path: &Path) -> Result<Size> {
    picture::size(path, MOST_PIXELS).with_context(|| format!("{}: cannot be read", path.display()))
}

fn read_picture(path: &Path, size: Size) -> Result<ClipFrame> {
    let read = picture::read(path, MOST_PIXELS);
    let picture = read.with_context(|| format!("{}: cannot be read", path.display()))?;
    let found = Size::new(picture.width(), picture.height());
    ensure!(found == size, "{}: is {found}, but the first picture is {size}", path.display());
    Ok(ClipFrame { name: stem(path), rgb: picture.into_raw().into(), size, pts_ns: None })
}

/// Compares names as people do: a run of digits counts as its number, so `2` comes before `10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let digits = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let (m, n) = (digits(a), digits(b));
        let order = if m > 0 && n > 0 {
            let number = |s: &[u8], len: usize| s[..len].iter().copied().skip_while(|c| *c == b'0').collect::<Vec<_>>();
            let (p, q) = (number(a, m), number(b, n));
            (a, b) = (&a[m..], &b[n..]);
            p.len().cmp(&q.len()).then(p.cmp(&q))
        } else {
            let order = x.cmp(y);
            (a, b) = (&a[1..], &b[1..]);
            order
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(path: PathBuf, width: u32, shade: u8) {
        image::RgbImage::from_pixel(width, 4, image::Rgb([shade; 3])).save(path).unwrap();
    }

    fn open(path: &Path) -> String {
        let error = format!("{:#}", Clip::open(path).err().expect("an error"));
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn a_folder_is_read_in_the_order_people_expect() {
        let folder = tempfile::tempdir().unwrap();
        for (name, shade) in [("2.png", 2), ("10.png", 10), ("1.PNG", 1), ("003.jpg", 3)] {
            picture(folder.path().join(name), 5, shade);
        }
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        fs::write(folder.path().join("._1.png"), "x").unwrap();
        let clip = Clip::open(folder.path()).unwrap();
        assert_eq!((clip.len_hint(), clip.size(), clip.fps()), (Some(4), Size::new(5, 4), None));
        let got: Vec<_> = clip.map(|f| f.unwrap()).map(|f| (f.name, f.rgb[0], f.rgb.len())).collect();
        let expected = [("1", 1), ("2", 2), ("003", 3), ("10", 10)];
        assert_eq!(got, expected.map(|(name, shade)| (name.to_owned(), shade, 60)));
    }

    #[test]
    fn pictures_have_times_where_somebody_says_their_rate() {
        let folder = tempfile::tempdir().unwrap();
        (0..4).for_each(|i| picture(folder.path().join(format!("{i}.png")), 5, i));
        let times = |clip: Clip| clip.map(|frame| frame.unwrap().pts_ns).collect::<Vec<_>>();
        let open = || Clip::open(folder.path()).unwrap();
        assert_eq!(times(open()), [None; 4]);
        assert_eq!(times(open().at((25, 1))), [0, 40_000_000, 80_000_000, 120_000_000].map(Some));
        // Every second frame of 24 a second; a clip that has begun goes on in time.
        let mut clip = open().at((24, 2));
        assert_eq!((clip.fps(), clip.next().unwrap().unwrap().pts_ns), (Some((24, 2)), Some(0)));
        assert_eq!(times(clip), [83_333_333, 166_666_666, 250_000_000].map(Some));
    }

    #[test]
    fn names_with_and_without_numbers_have_one_order() {
        let mut names = ["b", "a10", "a2", "a", "a02b", "10", "9", "a2b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["9", "10", "a", "a2", "a02b", "a2b", "a10", "b"]);
    }

    #[test]
    fn a_folder_that_cannot_be_a_clip_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(&folder.path().join("gone")).contains("gone"));
        assert!(open(folder.path()).contains("no .jpg or .png"));
        picture(folder.path().join("0.png"), 5, 0);
        picture(folder.path().join("0.jpg"), 5, 0);
        assert!(open(folder.path()).contains("have one name"));
        fs::remove_file(folder.path().join("0.jpg")).unwrap();
        picture(folder.path().join("1.png"), 6, 0);
        let error = open(folder.path());
        assert!(error.contains("1.png") && error.contains("6x4") && error.contains("5x4"), "{error}");
        fs::write(folder.path().join("1.png"), "no picture").unwrap();
        assert!(open(folder.path()).contains("1.png"));
        // A good header and nothing behind it.
        let whole = fs::read(folder.path().join("0.png")).unwrap();
        fs::write(folder.path().join("1.png"), &whole[..whole.len() - 25]).unwrap();
        let mut clip = Clip::open(folder.path()).unwrap();
        assert!(clip.next().unwrap().is_ok());
        let error = format!("{:#}", clip.next().unwrap().err().unwrap());
        assert!(error.contains("1.png") && clip.next().is_none(), "{error}");
    }
}
