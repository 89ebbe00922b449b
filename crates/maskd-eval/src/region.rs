//! J: how much of two regions is common.

/// The Jaccard index `|S & G| / |S | G|` of a segmentation and the truth, both one value per pixel;
/// 1 where both are empty. Pixels where `void` is true do not count (Perazzi et al. 2016;
/// `db_eval_iou` in davis2017-evaluation).
pub fn region(segmentation: &[bool], truth: &[bool], void: Option<&[bool]>) -> f64 {
    let (mut both, mut either) = (0_u64, 0_u64);
    for (index, (&s, &g)) in segmentation.iter().zip(truth).enumerate() {
        let counts = !void.is_some_and(|void| void[index]);
        both += u64::from(counts & s & g);
        either += u64::from(counts & (s | g));
    }
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j_is_the_common_share() {
        let (s, g) = ([true, true, false, false], [true, false, true, false]);
        assert_eq!(region(&s, &g, None), 1.0 / 3.0);
        assert_eq!(region(&s, &g, Some(&[false, true, false, false])), 0.5);
        assert_eq!(region(&s, &g, Some(&[true, true, true, false])), 1.0);
        assert_eq!(region(&[false; 4], &[false; 4], None), 1.0);
        assert_eq!(region(&s, &[false; 4], None), 0.0);
    }
}
