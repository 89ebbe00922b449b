//! Whether things keep their names, where the set says which thing is where.

use anyhow::{Result, ensure};
use std::path::Path;

use super::{
    figures::Identities,
    labels::Labels,
    truth::{Pixel, Truth},
};
use crate::identity::{Contacts, Label, Partings, Scene, partings, report};

/// What a map of 8 bits says where nobody can tell.
const NOT_JUDGED: Label = 255;

/// What is kept of the frames so far.
#[derive(Default)]
pub struct Names {
    scenes: Vec<Scene>,
    contacts: Vec<Contacts>,
}

impl Names {
    /// Adds a frame: which thing is where by the file `path`, and what was found. What `truth` does not judge is left out
    /// here, too.
    ///
    /// # Errors
    /// A file that holds no labels, or is of another size.
    pub fn add(&mut self, path: &Path, truth: &Truth, found: &Labels) -> Result<()> {
        let things = Labels::read(path)?;
        let (size, expected) = (things.size, truth.size);
        ensure!(size == expected, "{}: it is {size}, the truth is {expected}", path.display());
        let judged = |(thing, pixel): (&Label, &Pixel)| {
            let told = !(things.narrow && *thing == NOT_JUDGED) && *pixel != Pixel::NotJudged;
            told.then_some(*thing)
        };
        let things: Vec<Option<Label>> = things.values.iter().zip(&truth.pixels).map(judged).collect();
        let both = things.iter().zip(&found.values).filter_map(|(thing, found)| Some(((*thing)?, *found)));
        self.scenes.push(Scene::of(both));
        self.contacts.push(contacts(&things, size.width as usize));
        Ok(())
    }

    /// The figures; none where no frame was added.
    pub fn figures(&self) -> Option<Identities> {
        if self.scenes.is_empty() {
            return None;
        }
        let report = report(&self.scenes);
        let Partings { judged, wrong } = partings(&self.scenes, &self.contacts);
        Some(Identities {
            idf1: 100.0 * report.idf1,
            switches: report.switches as f64,
            parted: judged as f64,
            wrong_after_parting: (judged > 0).then(|| 100.0 * wrong as f64 / judged as f64),
        })
    }
}

/// Things that touch: along a row or a column, nothing but pixels that are not judged lies between them.
fn contacts(things: &[Option<Label>], width: usize) -> Contacts {
    let mut contacts = Contacts::new();
    let mut walk = |line: &mut dyn Iterator<Item = &Option<Label>>| {
        let mut last = 0;
        for thing in line.copied().flatten() {
            if last > 0 && thing > 0 && last != thing {
                contacts.insert((last.min(thing), last.max(thing)));
            }
            last = thing;
        }
    };
    things.chunks_exact(width.max(1)).for_each(|row| walk(&mut row.iter()));
    (0..width).for_each(|x| walk(&mut things.iter().skip(x).step_by(width)));
    contacts
}

#[cfg(test)]
mod tests {
    use super::*;
    use maskd_types::{frame::Size, mask::LabelMap};

    #[test]
    fn things_touch_across_what_is_not_judged() {
        let map = |text: &str| -> Vec<Option<Label>> {
            text.chars().map(|c| c.to_digit(10).map(|digit| digit as Label)).collect()
        };
        let touching = |text: &str, width| contacts(&map(text), width).into_iter().collect::<Vec<_>>();
        assert_eq!(touching("1122", 4), [(1, 2)]);
        assert_eq!(touching("2x1x", 4), [(1, 2)]);
        assert_eq!(touching("1020", 4), []);
        assert_eq!(touching("10x33", 5), []);
        assert_eq!(touching("1122", 2), [(1, 2)], "one above the other");
        assert_eq!(touching("1002", 2), [], "at a corner");
        assert_eq!(contacts(&[], 0), Contacts::new());
    }

    #[test]
    fn names_are_judged_where_the_set_tells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let size = Size::new(6, 1);
        let truth = |last| Truth { size, pixels: [[Pixel::Moving; 5].as_slice(), &[last]].concat() };
        let mut names = Names::default();
        assert_eq!(names.figures(), None);
        let mut add = |labels: [u8; 6], found: [Label; 6], last| {
            LabelMap { size, labels: labels.to_vec() }.write_png(&path).unwrap();
            names.add(&path, &truth(last), &Labels { size, values: found.to_vec(), narrow: true }).unwrap();
        };
        // The sixth pixel would halve the IoU of the second thing, and is not judged: once by the truth, then by the map.
        add([1, 1, 0, 0, 9, 0], [4, 4, 0, 0, 5, 5], Pixel::NotJudged);
        add([0, 1, 1, 9, 9, 255], [0, 4, 4, 5, 5, 6], Pixel::Moving);
        add([1, 1, 0, 0, 9, 255], [4, 4, 0, 0, 6, 5], Pixel::Moving);
        let figures = names.figures().unwrap();
        assert_eq!((figures.switches, figures.parted, figures.wrong_after_parting), (1.0, 2.0, Some(50.0)));
        // 6 masks each; thing 1 under 4 thrice, thing 9 under 5 twice.
        assert!((figures.idf1 - 100.0 * 10.0 / 12.0).abs() < 1e-9, "{figures:?}");

        LabelMap::new(Size::new(3, 1)).write_png(&path).unwrap();
        let found = Labels { size, values: vec![0; 6], narrow: true };
        let error = names.add(&path, &truth(Pixel::Scene), &found).unwrap_err().to_string();
        assert!(error.contains("x.png") && error.contains("3x1"), "{error}");
    }
}
