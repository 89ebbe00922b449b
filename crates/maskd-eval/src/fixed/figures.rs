//! The figures that are told, of a sequence or in the mean.

use serde::Serialize;

/// How well a method did on a sequence; shares are in per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Share of the pixels found that really move.
    pub precision: f64,
    /// Share of the moving pixels that were found.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Pixels found that move, of those found or moving.
    pub iou: f64,
    /// Panoptic quality, `rq` times `sq`.
    pub pq: f64,
    /// Recognition quality: F1 of instances.
    pub rq: f64,
    /// Segmentation quality: mean IoU of matched instances.
    pub sq: f64,
    /// Instances that lie in a true one, per true one that any lies in: 1 is best.
    pub fragments: f64,
    /// Names given.
    pub ids: f64,
    /// Changes of the name of what hangs together with what was there a frame before.
    pub switches: f64,
}

/// How well things kept their names, where the set says which is which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Identities {
    /// IDF1 in per cent.
    pub idf1: f64,
    /// How often a thing is found under another name than when it was last found.
    pub switches: f64,
    /// Things that met another, parted from it, and had a name before and after.
    pub parted: f64,
    /// Those of them that had another name after, in per cent; none where no things parted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_after_parting: Option<f64>,
}

impl Figures {
    /// What each figure is called, in the order of [`Figures::values`].
    pub const NAMES: [&str; 10] = ["P", "R", "F1", "IoU", "PQ", "RQ", "SQ", "frag", "ids", "sw"];

    /// All figures in one order.
    pub fn values(&self) -> [f64; 10] {
        [
            self.precision,
            self.recall,
            self.f1,
            self.iou,
            self.pq,
            self.rq,
            self.sq,
            self.fragments,
            self.ids,
            self.switches,
        ]
    }

    /// The mean of each figure; none of nothing.
    pub fn mean(all: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| mean(all.iter().map(figure));
        Some(Self {
            precision: of(|f| f.precision)?,
            recall: of(|f| f.recall)?,
            f1: of(|f| f.f1)?,
            iou: of(|f| f.iou)?,
            pq: of(|f| f.pq)?,
            rq: of(|f| f.rq)?,
            sq: of(|f| f.sq)?,
            fragments: of(|f| f.fragments)?,
            ids: of(|f| f.ids)?,
            switches: of(|f| f.switches)?,
        })
    }
}

impl Identities {
    /// What each figure is called, in the order of [`Identities::values`].
    pub const NAMES: [&str; 4] = ["IDF1", "IDsw", "parted", "wrong"];

    /// All figures in one order; none where nothing could be judged.
    pub fn values(&self) -> [Option<f64>; 4] {
        [Some(self.idf1), Some(self.switches), Some(self.parted), self.wrong_after_parting]
    }

    /// The mean of each figure, over the sequences that have it; none of nothing.
    pub fn mean(all: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| mean(all.iter().map(figure));
        Some(Self {
            idf1: of(|i| i.idf1)?,
            switches: of(|i| i.switches)?,
            parted: of(|i| i.parted)?,
            wrong_after_parting: mean(all.iter().filter_map(|i| i.wrong_after_parting)),
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    values.for_each(|value| (sum, count) = (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_over_those_that_have_the_figure() {
        let of = |idf1, wrong_after_parting| Identities { idf1, switches: 1.0, parted: 2.0, wrong_after_parting };
        let mean = Identities::mean(&[of(50.0, None), of(100.0, Some(20.0)), of(90.0, Some(40.0))]).unwrap();
        assert_eq!(mean.values(), [80.0, 1.0, 2.0, 30.0].map(Some));
        assert_eq!(Identities::mean(&[of(50.0, None)]).unwrap().wrong_after_parting, None);
        assert_eq!((Identities::mean(&[]), Figures::mean(&[])), (None, None));
        let [one, three] = [1.0, 3.0].map(|f1| Figures { f1, ..Figures::default() });
        assert_eq!(Figures::mean(&[one, three]).unwrap().values()[2], 2.0);
    }
}
