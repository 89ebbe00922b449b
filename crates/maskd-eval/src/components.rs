//! Which pixels hang together.

/// The 8-connected components of a mask.
#[derive(Debug, Default)]
pub struct Components {
    /// The component of each pixel, from 1; 0 is none.
    pub of: Vec<u32>,
    /// Pixels of each component; the first is number 1.
    pub areas: Vec<u64>,
}

impl Components {
    /// Of `mask`, `width` pixels a row. They are numbered by the order in which a scan of 2 x 2 blocks meets them, as OpenCV
    /// numbers them: where a count is drawn, the number decides.
    pub fn new(mask: &[bool], width: usize) -> Self {
        let mut forest = Forest(vec![0]);
        let mut of = vec![0_u32; mask.len()];
        for at in (0..mask.len()).filter(|at| mask[*at]) {
            let (x, y) = (at % width, at / width);
            let left = (x > 0).then(|| at - 1);
            let above = (y > 0).then(|| at - width);
            let others = [
                left,
                above.filter(|_| x > 0).map(|above| above - 1),
                above,
                above.filter(|_| x + 1 < width).map(|above| above + 1),
            ];
            let labels = others.into_iter().flatten().map(|other| of[other]).filter(|label| *label > 0);
            let label = labels.reduce(|a, b| forest.join(a, b));
            of[at] = label.unwrap_or_else(|| forest.plant());
        }
        // A block's pixels all touch each other, so it has one component.
        let mut first = vec![usize::MAX; forest.0.len()];
        for at in (0..mask.len()).filter(|at| mask[*at]) {
            of[at] = forest.root(of[at]);
            let block = at / width / 2 * width.div_ceil(2) + at % width / 2;
            let first = &mut first[of[at] as usize];
            *first = block.min(*first);
        }
        let mut order: Vec<usize> = (1..first.len()).filter(|root| first[*root] < usize::MAX).collect();
        order.sort_by_key(|root| first[*root]);
        let mut numbers = vec![0_u32; first.len()];
        order.iter().zip(1..).for_each(|(root, number)| numbers[*root] = number);
        let mut areas = vec![0; order.len()];
        for of in of.iter_mut().filter(|of| **of > 0) {
            *of = numbers[*of as usize];
            areas[*of as usize - 1] += 1;
        }
        Self { of, areas }
    }
}

/// Labels that turned out to be one: each points to a lesser one or to itself.
struct Forest(Vec<u32>);

impl Forest {
    fn plant(&mut self) -> u32 {
        let label = self.0.len() as u32;
        self.0.push(label);
        label
    }

    fn root(&mut self, mut label: u32) -> u32 {
        while self.0[label as usize] != label {
            let parent = self.0[label as usize];
            self.0[label as usize] = self.0[parent as usize];
            label = parent;
        }
        label
    }

    fn join(&mut self, a: u32, b: u32) -> u32 {
        let (a, b) = (self.root(a), self.root(b));
        let (least, other) = (a.min(b), a.max(b));
        self.0[other as usize] = least;
        least
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(rows: &[&str]) -> (Vec<bool>, usize) {
        (rows.concat().chars().map(|c| c == '#').collect(), rows[0].len())
    }

    #[test]
    fn corners_connect_and_numbers_follow_blocks() {
        let (mask, width) = drawn(&["....##", "#.....", ".#...#", "#...##"]);
        let found = Components::new(&mask, width);
        // By rows the right one came first; by blocks of two rows the left one does.
        assert_eq!(found.of[4..8], [2, 2, 1, 0]);
        assert_eq!((found.of[13], found.of[18], found.of[17]), (1, 1, 3));
        assert_eq!(found.areas, [3, 2, 3]);
        assert!(Components::new(&[], 0).areas.is_empty());
    }

    /// The same by flooding.
    fn plain(mask: &[bool], width: usize) -> Vec<Vec<usize>> {
        let mut seen = vec![false; mask.len()];
        let mut all = Vec::new();
        for start in 0..mask.len() {
            let mut open = vec![start];
            let mut own = Vec::new();
            while let Some(at) = open.pop() {
                if !mask[at] || std::mem::replace(&mut seen[at], true) {
                    continue;
                }
                own.push(at);
                let (x, y) = (at % width, at / width);
                for (v, u) in
                    (y.saturating_sub(1)..=y + 1).flat_map(|v| (x.saturating_sub(1)..=x + 1).map(move |u| (v, u)))
                {
                    if u < width && v * width + u < mask.len() {
                        open.push(v * width + u);
                    }
                }
            }
            own.sort_unstable();
            all.extend((!own.is_empty()).then_some(own));
        }
        all
    }

    proptest! {
        #[test]
        fn they_are_those_of_flooding(mask in prop::collection::vec(prop::bool::weighted(0.4), 1..200), width in 1_usize..20) {
            let mask = &mask[..mask.len() / width * width];
            let found = Components::new(mask, width);
            let mut sets: Vec<Vec<usize>> = (1..=found.areas.len() as u32)
                .map(|number| (0..mask.len()).filter(|at| found.of[*at] == number).collect())
                .collect();
            prop_assert!(sets.iter().zip(&found.areas).all(|(set, area)| set.len() as u64 == *area));
            sets.sort();
            prop_assert_eq!(sets, plain(mask, width));
        }
    }
}
