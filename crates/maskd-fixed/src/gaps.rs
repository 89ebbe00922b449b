//! Bands across a thing that look like the scene: a windscreen in the colour of the road, a belt in that of the wall.

/// A gap is no longer than this share of the shorter of what lies above and below it.
const SHARE: f32 = 1.0;
/// Evidence above which a pixel is not clearly of the scene. Chosen, as [`SHARE`], on the first halves of the four sequences
/// that the cues were fitted on and on things cut out of them that cross.
const DOUBT: f32 = -2.5;
/// Share of a gap's pixels that must be in doubt.
const OPEN: f32 = 0.75;

/// Fills gaps in the columns of `mask` `(height, width)`: short runs between two longer ones, in most of which the `evidence`
/// `(height, width)` leaves doubt. Things stand upright: along rows two that walk side by side would become one.
pub fn fill(mask: &mut [bool], evidence: &[f32], width: usize) {
    for x in 0..width {
        column(mask, evidence, x, width);
    }
}

fn column(mask: &mut [bool], evidence: &[f32], x: usize, width: usize) {
    let height = mask.len() / width;
    // Lengths of the last run of the foreground, of the gap below it, and of the run below that.
    let (mut above, mut gap, mut run) = (0, 0, 0);
    for y in 0..=height {
        if y < height && mask[y * width + x] {
            run += 1;
            continue;
        }
        if run > 0 {
            if gap > 0 && gap as f32 <= SHARE * above.min(run) as f32 {
                let pixels = (y - run - gap..y - run).map(|y| y * width + x);
                let open = pixels.clone().filter(|&p| evidence[p] > DOUBT).count();
                if open as f32 >= OPEN * gap as f32 {
                    pixels.for_each(|p| mask[p] = true);
                    run += above + gap;
                }
            }
            (above, gap, run) = (run, 0, 0);
        }
        gap += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The column that `text` draws, from top to bottom: `#` foreground, `?` in doubt, `.` scene; filled.
    fn filled(text: &str) -> String {
        let mut mask: Vec<bool> = text.chars().map(|c| c == '#').collect();
        let evidence: Vec<f32> =
            text.chars().map(|c| if c == '.' { -4.0 } else { 1.0 - f32::from(u8::from(c == '?')) * 3.0 }).collect();
        fill(&mut mask, &evidence, 1);
        text.chars().zip(mask).map(|(c, m)| if m { '#' } else { c }).collect()
    }

    #[test]
    fn a_gap_in_doubt_between_longer_runs_is_filled() {
        assert_eq!(filled("..###??###.."), "..########..");
        assert_eq!(filled("##??##??##"), "##########");
        assert_eq!(filled("####??.?####"), "############", "a quarter may look like the scene");
    }

    #[test]
    fn scene_and_what_is_longer_than_its_neighbours_stay() {
        for text in ["###..###", "##???###", "###???##", "??##??", "....", "????", "####", "####?..?####"] {
            assert_eq!(filled(text), text);
        }
    }

    #[test]
    fn columns_know_nothing_of_each_other() {
        // Two columns: rows of foreground and doubt side by side.
        let mut mask = [true, false, false, true, true, false];
        let before = mask;
        fill(&mut mask, &[1.0, -4.0, -4.0, 1.0, 1.0, -4.0], 2);
        assert_eq!(mask, before);
        let mut none: [bool; 0] = [];
        fill(&mut none, &[], 0);
    }
}
