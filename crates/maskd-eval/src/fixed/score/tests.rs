use super::*;
use maskd_types::frame::Size;

/// A frame of `WIDTH` x `WIDTH` pixels in which rectangles (left, top, width, height, value) are drawn over each other.
const WIDTH: usize = 30;

fn drawn(rectangles: &[(usize, usize, usize, usize, Label)]) -> Vec<Label> {
    let mut values = vec![0; WIDTH * WIDTH];
    for &(left, top, width, height, value) in rectangles {
        for y in top..top + height {
            values[y * WIDTH + left..][..width].fill(value);
        }
    }
    values
}

fn pixel(value: Label) -> Pixel {
    match value {
        0 => Pixel::Scene,
        255 => Pixel::Moving,
        _ => Pixel::NotJudged,
    }
}

fn add(score: &mut Score, size: Size, truth: Vec<Label>, found: Vec<Label>) {
    let truth = Truth { size, pixels: truth.into_iter().map(pixel).collect() };
    score.add(&truth, &Labels { size, values: found, narrow: true });
}

fn judged(truth: Vec<Label>, found: Vec<Label>) -> Figures {
    let mut score = Score::default();
    add(&mut score, Size::new(WIDTH as u32, WIDTH as u32), truth, found);
    score.figures()
}

/// Frames of one row in which runs (first pixel, length, value) are drawn, true ones and found ones.
type Run = (usize, usize, Label);

fn rows(frames: &[(&[Run], &[Run])]) -> Figures {
    let mut score = Score::default();
    for (truth, found) in frames {
        let row = |runs: &[Run]| {
            let mut row = vec![0; 300];
            runs.iter().for_each(|(first, length, value)| row[*first..][..*length].fill(*value));
            row
        };
        add(&mut score, Size::new(300, 1), row(truth), row(found));
    }
    score.figures()
}

fn close(figures: Figures, expected: [f64; 10]) {
    let equal = figures.values().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(equal, "{figures:?}, expected {expected:?}");
}

#[test]
fn figures_are_those_computed_by_hand() {
    // Two things of 100 and 64 pixels. The first is found in two pieces of 80 and 20 pixels, the second is missed, and 60
    // pixels of the scene are taken for a third.
    let truth = drawn(&[(0, 0, 10, 10, 255), (12, 12, 8, 8, 255)]);
    let found = drawn(&[(0, 0, 8, 10, 1), (8, 0, 2, 10, 2), (20, 0, 10, 6, 3)]);
    let [precision, recall] = [100.0 / 160.0, 100.0 / 164.0];
    let f1 = 2.0 * precision * recall / (precision + recall);
    let shares = [precision, recall, f1, 100.0 / 224.0, 0.4, 0.5, 0.8].map(|share| 100.0 * share);
    close(judged(truth.clone(), found), [&shares[..], &[2.0, 3.0, 0.0]].concat().try_into().unwrap());
    // Every pixel found, but under one name: it is the greater thing's, at an IoU of 100 / 164, and the other is missed.
    let (rq, sq) = (100.0 / 1.5, 100.0 * 100.0 / 164.0);
    let [all, pq] = [100.0, rq * sq / 100.0];
    close(judged(truth.clone(), truth.clone()), [all, all, all, all, pq, rq, sq, 1.0, 1.0, 0.0]);
    // Perfect, and nothing of nothing.
    let found = drawn(&[(0, 0, 10, 10, 1), (12, 12, 8, 8, 2)]);
    close(judged(truth, found), [100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 1.0, 2.0, 0.0]);
    close(judged(drawn(&[]), drawn(&[])), [0.0; 10]);
}

#[test]
fn what_is_not_judged_counts_nowhere() {
    let truth = drawn(&[(0, 0, 30, 10, 170), (0, 0, 10, 10, 255), (0, 20, 30, 10, 85)]);
    // 300 pixels of the one label, of which 100 are judged; another label lies outside altogether.
    let found = drawn(&[(0, 0, 30, 10, 1), (0, 20, 30, 10, 2)]);
    close(judged(truth, found), [100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 1.0, 1.0, 0.0]);
}

#[test]
fn fifty_pixels_are_noise_and_one_more_is_not() {
    let none: &[Run] = &[];
    let rq = |truth: &[Run], found: &[Run]| {
        rows(&[(&[&[(0, 60, 255)], truth].concat(), &[&[(0, 60, 9)], found].concat())]).rq
    };
    assert_eq!(rq(none, none), 100.0);
    assert_eq!(rq(&[(100, 50, 255)], &[(200, 50, 8)]), 100.0);
    assert!((rq(&[(100, 51, 255)], none) - 100.0 / 1.5).abs() < 1e-9);
    assert!((rq(none, &[(200, 51, 8)]) - 100.0 / 1.5).abs() < 1e-9);
}

#[test]
fn an_iou_of_one_half_is_no_match_and_half_of_an_instance_is_a_fragment() {
    let half = rows(&[(&[(0, 60, 255)], &[(0, 120, 1)])]);
    assert_eq!((half.rq, half.fragments), (0.0, 1.0));
    let more = rows(&[(&[(0, 61, 255)], &[(0, 120, 1)])]);
    assert_eq!((more.rq, more.fragments), (100.0, 1.0));
    // Three of 200 pixels are less than 3 per cent of them; six are not.
    assert_eq!(rows(&[(&[(0, 200, 255)], &[(0, 150, 1), (190, 3, 2)])]).fragments, 1.0);
    assert_eq!(rows(&[(&[(0, 200, 255)], &[(0, 150, 1), (190, 6, 2)])]).fragments, 2.0);
}

#[test]
fn a_switch_is_another_name_for_what_hangs_together_with_the_frame_before() {
    let at = |first, name| (vec![(first, 60, 255)], vec![(first, 60, name)]);
    let switches = |frames: &[(Vec<Run>, Vec<Run>)]| {
        rows(&frames.iter().map(|(truth, found)| (&truth[..], &found[..])).collect::<Vec<_>>()).switches
    };
    assert_eq!(switches(&[at(0, 1), at(5, 1), at(10, 2), at(15, 2)]), 1.0);
    assert_eq!(switches(&[at(0, 1), at(100, 2)]), 0.0, "another place, another thing");
    assert_eq!(switches(&[at(0, 1), (vec![(0, 60, 255)], vec![]), at(5, 2)]), 0.0, "not found between");
    // Two that became one: it is the one that it shares most with, and the greater number where both are even.
    let two = || (vec![(0, 60, 255), (70, 60, 255)], vec![(0, 60, 5), (70, 60, 6)]);
    let one = |name| (vec![(0, 130, 255)], vec![(0, 130, name)]);
    assert_eq!((switches(&[two(), one(6)]), switches(&[two(), one(5)])), (0.0, 1.0));
    let left = |name| (vec![(0, 129, 255)], vec![(0, 129, name)]);
    assert_eq!((switches(&[two(), left(6)]), switches(&[two(), left(5)])), (1.0, 0.0));
}
