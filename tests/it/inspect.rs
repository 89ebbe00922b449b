//! `maskd inspect` as its user meets it: what the page and the log tell of a drawn yard, and outputs that replace nothing of
//! others.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{
    process::{maskd, refused, signal, spawn},
    until,
    weights::TinyVit,
};

const SIZE: (u32, u32) = (160, 96);
/// Pictures a second.
const RATE: u64 = 10;

/// A texture that does not repeat, 60..=180.
fn ground(x: u32, y: u32) -> u8 {
    let cell = |by: u32, seed: u32| {
        let mut h = (x / by).wrapping_mul(0x9E37_79B1) ^ (y / by).wrapping_mul(0x85EB_CA77) ^ seed;
        h = (h ^ h >> 15).wrapping_mul(0x2C1B_3C6D);
        (h >> 20) % 61
    };
    (60 + cell(9, 1) + cell(4, 2)) as u8
}

/// A yard. From 2 s on a red ball goes from the left to the right, and a blue one the other way; they pass behind each other
/// at 3.9 s, and leave by 7 s.
fn picture(i: u64) -> RgbImage {
    let t = i as f64 / RATE as f64;
    let along = 42.0 * (t - 2.0) - 14.0;
    let balls = [(along, 46.0, [200, 40, 40]), (f64::from(SIZE.0) - along, 52.0, [40, 60, 210])];
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let inside = |(cx, cy, _): &&(f64, f64, [u8; 3])| (f64::from(x) - cx).hypot(f64::from(y) - cy) < 13.0;
        let colour = balls.iter().rfind(inside).map_or([ground(x, y); 3], |ball| ball.2);
        Rgb(colour)
    })
}

/// A folder with a tiny network and the film as pictures.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// The film's first `frames` pictures are in a folder of this name.
    fn new(name: &str, frames: u64) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        TinyVit::default().write(&home.path("tiny.safetensors"), 7);
        fs::create_dir(home.path(name)).unwrap();
        for i in 0..frames {
            picture(i).save(home.path(name).join(format!("{i:03}.png"))).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn words(&self, name: &str, more: &[&str]) -> Vec<String> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let fixed = ["--short-side", "64", "--device", "cpu", "--fps", "10", "--weights"];
        let mut words = vec!["inspect".to_owned(), path(name), "--out".to_owned(), path("out")];
        words.extend(fixed.iter().map(|word| (*word).to_owned()).chain([path("tiny.safetensors")]));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        words
    }

    fn inspect(&self, name: &str, more: &[&str]) -> Output {
        maskd(&self.words(name, more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// As [`Self::inspect`], which must work; what it printed.
    fn works(&self, name: &str, more: &[&str]) -> String {
        let output = self.inspect(name, more);
        assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn page(&self) -> String {
        fs::read_to_string(self.path("out/index.html")).unwrap()
    }

    fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("out/log.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn pictures(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path("out/pictures")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The lines of a kind.
fn of<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["kind"] == kind).collect()
}

fn seconds(line: &Value) -> f64 {
    line["seconds"].as_f64().unwrap()
}

#[test]
fn page_and_log_tell_who_came_whom_they_touched_and_why_they_ended() {
    let home = Home::new("yard", 85);
    let said = home.works("yard", &["--each", "3"]);
    assert!(said.contains("85 frames") && said.contains("index.html"), "{said}");
    let (log, page) = (home.log(), home.page());

    assert_eq!(log[0]["kind"], "clip");
    assert!(log[0]["clip"].as_str().unwrap().ends_with("/yard"), "{}", log[0]);
    let fixed = of(&log, "fixed");
    assert!(fixed.len() == 1 && (0.9..1.6).contains(&seconds(fixed[0])) && of(&log, "moving").is_empty(), "{log:#?}");
    let frames = of(&log, "frame");
    assert_eq!(frames.len(), 85);
    assert!(frames[40..].iter().all(|frame| frame["fixed"] == true && frame["same"].as_f64().unwrap() > 0.8));

    // Both are published within a second and leave at the border of the picture.
    let mut published = of(&log, "published");
    // By their looks, before the camera is known to be fixed, things are found that do not move; they end then.
    published.retain(|line| seconds(line) > 1.6);
    assert_eq!(published.len(), 2, "{published:?}");
    for line in &published {
        let what = line["what"].as_str().unwrap();
        assert!((2.0..3.2).contains(&seconds(line)) && what.contains("asked for: 2 frames"), "{line}");
    }
    let names: BTreeSet<&str> = published.iter().map(|line| line["who"].as_str().unwrap()).collect();
    let left: BTreeSet<&str> = of(&log, "left").iter().map(|line| line["who"].as_str().unwrap()).collect();
    assert_eq!(left, names);
    assert!(
        of(&log, "left").iter().all(|line| line["what"].as_str().unwrap().contains("left at the border")),
        "{log:#?}"
    );
    // They meet at 3.9 s.
    let names: Vec<&str> = names.into_iter().collect();
    let touched = of(&log, "touched");
    assert!(!touched.is_empty() && (3.2..4.4).contains(&seconds(touched[0])), "{touched:?}");
    let both = [touched[0]["who"].as_str().unwrap(), touched[0]["what"].as_str().unwrap()].concat();
    assert!(names.iter().all(|name| both.contains(name)), "{both}");

    // The page has the same words, and a picture of each frame in which something happened, beside one each three seconds.
    for line in published.iter().chain(&of(&log, "left")) {
        let words = line["what"].as_str().unwrap().trim_start_matches("is published: ");
        assert!(page.contains(words), "{words}");
        let frame = line["frame"].as_u64().unwrap();
        assert!(home.pictures().contains(&format!("{frame:05}.jpg")) && page.contains(&format!("#frame-{frame}\"")));
    }
    for frame in [0, 30, 60] {
        assert!(home.pictures().contains(&format!("{frame:05}.jpg")), "{:?}", home.pictures());
    }
    assert!(page.contains("<svg") && page.contains("In contact with") && !page.contains("<script"), "{page}");
    let shown = image::open(home.path("out/pictures/00030.jpg")).unwrap();
    // Six pictures, twice as large as they are, 4 pixels apart.
    assert_eq!((shown.width(), shown.height()), (3 * 324 - 4, 2 * 196 - 4));
}

#[test]
fn names_from_outside_are_text() {
    let hostile = "<img src=x onerror=alert(1)>&\"'";
    let home = Home::new(hostile, 0);
    picture(0).save(home.path(hostile).join("<script>0.png")).unwrap();
    home.works(hostile, &[]);
    let page = home.page();
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;"), "{page}");
    assert!(page.contains("&lt;script&gt;0") && !page.contains("<script>") && !page.contains("<img src=x"), "{page}");
    assert!(home.log()[0]["clip"].as_str().unwrap().ends_with(hostile));
}

#[test]
fn only_a_page_of_ours_is_replaced_and_only_where_told() {
    let home = Home::new("yard", 4);
    let write = |name: &str, text: &str| fs::write(home.path(name), text).unwrap();
    fs::create_dir_all(home.path("out/pictures")).unwrap();
    for name in ["out/index.html", "out/log.jsonl", "out/pictures/00000.jpg"] {
        write(name, "theirs");
        refused(&home.inspect("yard", &["--overwrite"]), 64, &[name, "not known to be made by maskd"]);
        assert_eq!(fs::read_to_string(home.path(name)).unwrap(), "theirs");
        fs::remove_file(home.path(name)).unwrap();
    }
    write("out/pictures/mine.jpg", "theirs");
    home.works("yard", &["--each", "0.1"]);
    assert_eq!(home.pictures().len(), 5);
    refused(&home.inspect("yard", &[]), 64, &["index.html", "there already", "--overwrite"]);
    let said = home.works("yard", &["--overwrite", "--every", "2", "--each", "0.1", "--pictures", "1"]);
    assert!(said.contains("2 frames") && said.contains("1 more pictures were left out"), "{said}");
    // The earlier page's pictures are gone with it.
    let names: Vec<String> = home.pictures().into_iter().collect();
    assert_eq!(names, ["00000.jpg", "mine.jpg"]);
    assert!(home.page().contains("1 later ones are left out"));

    for out in ["yard", "tiny.safetensors"] {
        let words = home.words("yard", &[]);
        let path = home.path(out);
        let words = words
            .iter()
            .map(|word| if *word == home.path("out").to_str().unwrap() { path.to_str().unwrap() } else { word });
        refused(&maskd(&words.collect::<Vec<_>>()), 64, &["--out", out, "is "]);
    }
    // The folder of a page's pictures is the clip.
    fs::create_dir(home.path("again")).unwrap();
    std::os::unix::fs::symlink(home.path("yard"), home.path("again/pictures")).unwrap();
    let words: Vec<String> = home.words("yard", &[]).iter().map(|word| word.replace("/out", "/again")).collect();
    refused(&maskd(&words.iter().map(String::as_str).collect::<Vec<_>>()), 64, &["again/pictures", "is the input"]);
    refused(&home.inspect("gone", &["--overwrite"]), 74, &["gone"]);
}

#[test]
fn a_clip_that_breaks_off_has_a_page_until_there() {
    let home = Home::new("yard", 6);
    let whole = fs::read(home.path("yard/004.png")).unwrap();
    fs::write(home.path("yard/004.png"), &whole[..whole.len() / 2]).unwrap();
    refused(&home.inspect("yard", &[]), 65, &["004.png"]);
    assert_eq!(of(&home.log(), "frame").len(), 4);
    assert!(home.page().contains("not looked at to its end") && home.page().contains("004.png"));
}

/// Whether `path` holds the end of a page.
fn is_whole(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|page| page.contains("</html>"))
}

#[test]
fn ctrl_c_leaves_a_page_of_what_was_seen() {
    let home = Home::new("yard", 1);
    for i in 1..3000 {
        fs::hard_link(home.path("yard/000.png"), home.path("yard").join(format!("{i:03}.png"))).unwrap();
    }
    let child = spawn(&home.words("yard", &[]).iter().map(String::as_str).collect::<Vec<_>>());
    until("the first picture", || home.path("out/pictures/00000.jpg").exists().then_some(()));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(is_whole(&home.path("out/index.html")) && home.page().contains("it was interrupted"));
    assert!((1..3000).contains(&of(&home.log(), "frame").len()));
}
