//! Selecting on drawn features and colours.

use super::*;
use crate::discover::synthetic::{Thing, field};

const GRID: Grid = Grid { rows: 12, cols: 18 };
const PATCH: u32 = 14;
const SIZE: Size = Size::new(18 * PATCH, 12 * PATCH);

/// A picture of a red disc on grey that is a little uneven, its colours, and features of the patches that are mostly disc.
struct Scene {
    features: Features,
    colours: Colours,
    truth: Vec<bool>,
}

impl Scene {
    /// A disc around `(x, y)` in pixels; `clutter` is drawn in features only.
    fn new((x, y): (f32, f32), radius: f32, clutter: &[Thing]) -> Self {
        let pixel = |i: usize| ((i % SIZE.width as usize) as f32 + 0.5, (i / SIZE.width as usize) as f32 + 0.5);
        let truth: Vec<bool> = (0..SIZE.area())
            .map(|i| {
                let (px, py) = pixel(i);
                (px - x).hypot(py - y) < radius
            })
            .collect();
        let rgb: Vec<u8> = (0..SIZE.area())
            .flat_map(|i| if truth[i] { [200, 40, 40] } else { [110 + (i % 7) as u8, 120, 110 + (i % 5) as u8] })
            .collect();
        let held = from_mask(GRID, SIZE, &truth);
        let mut things = clutter.to_vec();
        let cells = (0..GRID.len()).filter(|&p| held[p]);
        things.extend(cells.map(|p| Thing::new(1, ((p / GRID.cols) as i32, (p % GRID.cols) as i32), (1, 1))));
        let colours = Colours::of(&rgb, SIZE, GRID, PATCH as usize).unwrap();
        Self { features: field(GRID, 0, 0, &things, 0), colours, truth }
    }

    fn view(&self) -> View<'_> {
        View { features: &self.features, colours: Some(&self.colours), source: SIZE }
    }

    /// The tight box of the disc.
    fn tight(&self) -> BBox {
        let held =
            || (0..self.truth.len()).filter(|&i| self.truth[i]).map(|i| (i as u32 % SIZE.width, i as u32 / SIZE.width));
        let (left, right) = (held().map(|p| p.0).min().unwrap(), held().map(|p| p.0).max().unwrap());
        let (top, bottom) = (held().map(|p| p.1).min().unwrap(), held().map(|p| p.1).max().unwrap());
        BBox { x: left, y: top, width: right - left + 1, height: bottom - top + 1 }
    }

    fn iou(&self, found: &Selection) -> f32 {
        region::iou(found.mask.as_ref().unwrap(), &self.truth)
    }
}

#[test]
fn a_tight_box_gives_the_thing_to_the_pixel() {
    let scene = Scene::new((120.0, 80.0), 37.0, &[]);
    let found = in_box(scene.view(), scene.tight());
    // Patches alone reach 0.85.
    assert!(scene.iou(&found) > 0.95, "{}", scene.iou(&found));
    assert_eq!(found.patches, from_mask(GRID, SIZE, found.mask.as_ref().unwrap()));
    // Without colours its patches are told.
    let found = in_box(View { colours: None, ..scene.view() }, scene.tight());
    let held = from_mask(GRID, SIZE, &scene.truth);
    assert!(found.mask.is_none() && region::iou(&found.patches, &held) > 0.8);
}

#[test]
fn a_box_at_the_rim_is_cut_off_there() {
    let scene = Scene::new((5.0, 80.0), 40.0, &[]);
    let tight = scene.tight();
    assert_eq!(tight.x, 0);
    for width in [tight.width, u32::MAX] {
        let bbox = BBox { width: width.min(tight.width + 60), ..tight };
        let found = in_box(scene.view(), bbox);
        assert!(scene.iou(&found) > 0.9, "{bbox:?}: {}", scene.iou(&found));
    }
    // A box beyond the frame ends with it.
    let bottom = Scene::new((120.0, 150.0), 40.0, &[]);
    let found = in_box(bottom.view(), BBox { height: u32::MAX, ..bottom.tight() });
    assert!(bottom.iou(&found) > 0.9, "{}", bottom.iou(&found));
}

#[test]
fn a_click_on_a_thing_in_clutter_gives_the_thing() {
    let clutter = [Thing::new(5, (1, 1), (3, 3)), Thing::new(6, (8, 13), (3, 4)), Thing::new(7, (1, 12), (3, 4))];
    let scene = Scene::new((120.0, 80.0), 37.0, &clutter);
    for at in [[120, 80], [105, 90]] {
        let found = from_points(scene.view(), &[at], &[]);
        assert!(scene.iou(&found) > 0.9, "{at:?}: {}", scene.iou(&found));
    }
}

#[test]
fn a_negative_point_takes_away_and_a_positive_one_adds() {
    // Two parts that touch and have their own looks and colours.
    let size = SIZE.area();
    let left = |i: usize| (56..112).contains(&(i as u32 % SIZE.width)) && (56..112).contains(&(i as u32 / SIZE.width));
    let right =
        |i: usize| (112..168).contains(&(i as u32 % SIZE.width)) && (56..112).contains(&(i as u32 / SIZE.width));
    let rgb: Vec<u8> = (0..size)
        .flat_map(|i| {
            if left(i) {
                [200, 40, 40]
            } else if right(i) {
                [40, 40, 200]
            } else {
                [110, 120, 110]
            }
        })
        .collect();
    let colours = Colours::of(&rgb, SIZE, GRID, PATCH as usize).unwrap();
    let features = field(GRID, 0, 0, &[Thing::new(1, (4, 4), (4, 4)), Thing::new(2, (4, 8), (4, 4))], 0);
    let view = View { features: &features, colours: Some(&colours), source: SIZE };
    let share = |found: &Selection, part: &dyn Fn(usize) -> bool| {
        let mask = found.mask.as_ref().unwrap();
        let held = (0..size).filter(|&i| part(i) && mask[i]).count();
        held as f32 / (56.0 * 56.0)
    };
    let whole = in_box(view, BBox { x: 56, y: 56, width: 112, height: 56 });
    // A thing of two looks that fills its box is not parted.
    assert!(
        share(&whole, &left) > 0.9 && share(&whole, &right) > 0.9,
        "{} {}",
        share(&whole, &left),
        share(&whole, &right)
    );
    let both = from_points(view, &[[84, 84], [140, 84]], &[]);
    assert!(
        share(&both, &left) > 0.9 && share(&both, &right) > 0.9,
        "{} {}",
        share(&both, &left),
        share(&both, &right)
    );
    let one = from_points(view, &[[84, 84]], &[[140, 84]]);
    assert!(share(&one, &left) > 0.9 && share(&one, &right) < 0.1, "{} {}", share(&one, &left), share(&one, &right));
    // What a negative point is on is never of the thing, what a positive one is on always, whatever they are on.
    let (on, off) = ([[84, 84], [20, 20]], [[84, 100], [230, 150]]);
    let odd = from_points(view, &on, &off);
    let at = |[x, y]: [u32; 2]| odd.mask.as_ref().unwrap()[(y * SIZE.width + x) as usize];
    assert!(on.into_iter().all(at) && !off.into_iter().any(at));
}

#[test]
fn degenerate_boxes_pictures_and_points_give_something() {
    // No contrast at all: features and colours are the same everywhere.
    let features = Features::new(GRID, 2, [1.0, 0.0].repeat(GRID.len()));
    let colours = Colours::of(&vec![90; SIZE.area() * 3], SIZE, GRID, PATCH as usize).unwrap();
    let boxes =
        [(0, 0, 1, 1), (251, 167, 1, 1), (0, 0, 252, 168), (50, 50, 252, 1), (50, 50, 1, 100), (70, 70, 60, 40)];
    for colours in [Some(&colours), None] {
        let view = View { features: &features, colours, source: SIZE };
        for (x, y, width, height) in boxes {
            let found = in_box(view, BBox { x, y, width, height });
            assert!(found.patches.contains(&true), "{x},{y},{width},{height}");
        }
        for at in [[0, 0], [251, 167], [120, 80]] {
            let found = from_points(view, &[at], &[at]);
            assert!(found.patches.contains(&true), "{at:?}");
        }
    }
    // A picture that is all alike in a box: the box is what is known.
    let found = in_box(
        View { features: &features, colours: Some(&colours), source: SIZE },
        BBox { x: 70, y: 70, width: 60, height: 40 },
    );
    let held = found.mask.unwrap().iter().filter(|held| **held).count();
    assert!(held.abs_diff(60 * 40) < 400, "{held}");
    // A grid of one patch has nothing around.
    let one = Features::new(Grid { rows: 1, cols: 1 }, 2, vec![1.0, 0.0]);
    let view = View { features: &one, colours: None, source: Size::new(14, 14) };
    assert_eq!(in_box(view, BBox { x: 0, y: 0, width: 14, height: 14 }).patches, [true]);
    assert_eq!(from_points(view, &[[7, 7]], &[]).patches, [true]);
}

#[test]
fn a_frame_of_very_many_patches_is_compared_in_blocks() {
    let grid = Grid { rows: 61, cols: 83 };
    let thing = Thing::new(1, (20, 30), (16, 20));
    let features = Features::new(grid, 2, {
        let held = thing.patches(grid);
        (0..grid.len()).flat_map(|p| if held[p] { [1.0, 0.0] } else { [0.0, 1.0] }).collect::<Vec<f32>>()
    });
    let likeness = Likeness::of(&features);
    assert_eq!((likeness.factor, likeness.grid), (2, Grid { rows: 31, cols: 42 }));
    let size = Size::new(830, 610);
    let view = View { features: &features, colours: None, source: size };
    let found = in_box(view, BBox { x: 280, y: 180, width: 240, height: 200 });
    assert!(region::iou(&found.patches, &thing.patches(grid)) > 0.9);
    let found = from_points(view, &[[400, 280]], &[]);
    assert!(region::iou(&found.patches, &thing.patches(grid)) > 0.9);
}

#[test]
fn smoothing_keeps_the_mean_and_stops_at_edges() {
    use super::smooth::{Weights, smooth};
    // A step of odds one place beside a step of colours: it moves to the colours.
    let (height, width) = (8, 12);
    let colour: Vec<f32> = (0..height * width).map(|i| if i % width < 6 { 0.1 } else { 0.9 }).collect();
    let plane: Vec<f32> = (0..height * width).map(|i| if i % width < 7 { 1.0 } else { -1.0 }).collect();
    let colours = [colour.clone(), colour.clone(), colour];
    let weights = Weights::new(Some(&colours), (height, width), 4.0, 0.0);
    let out = smooth(&plane, &weights);
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    assert!((mean(&out) - mean(&plane)).abs() < 1e-3);
    assert!((0..height).all(|row| out[row * width + 5] > 0.0 && out[row * width + 6] < 0.0), "{out:?}");
    // Nothing to smooth with: as it was.
    let none = Weights::new(None, (height, width), 0.0, 0.0);
    assert_eq!(smooth(&plane, &none), plane);
}

#[test]
fn otsu_parts_weighted_groups() {
    let found = otsu::threshold(vec![(0.0, 1.0), (0.1, 1.0), (0.9, 0.5), (1.0, 0.5)]).unwrap();
    assert!((found.at - 0.5).abs() < 1e-6 && (found.apart - 0.9).abs() < 1e-6, "{found:?}");
    assert_eq!(otsu::threshold(vec![(0.3, 1.0); 5]), None);
    assert_eq!(otsu::threshold(Vec::new()), None);
}
