//! Whose frames the engine's time is spent on: weighted max-min fairness with floors.

/// What one stream asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Frames a second that arrive: it never gets more. May be infinite.
    pub arrival: f64,
    /// Frames a second that it gets before others get more than theirs, as far as they arrive.
    pub floor: f64,
    /// Its share beside the others', above 0.
    pub weight: f64,
    /// What a frame costs, in units of the budget, above 0.
    pub cost: f64,
}

/// Frames a second for each claim, so that they cost `budget` a second together, or all that arrives where that costs
/// less: `clamp(weight * x, floor, arrival)` with one `x` for all, as large as the budget allows. What a stream leaves
/// goes to the others. Where not even the floors can be paid, `min(weight * x, floor)`.
pub fn shares(claims: &[Claim], budget: f64) -> Vec<f64> {
    let floor = |claim: &Claim| claim.floor.min(claim.arrival);
    let floors: f64 = claims.iter().map(|claim| floor(claim) * claim.cost).sum();
    if floors <= budget {
        pour(claims, budget, |claim, x| (claim.weight * x).max(floor(claim)).min(claim.arrival))
    } else {
        pour(claims, budget, |claim, x| (claim.weight * x).min(floor(claim)))
    }
}

/// Finds the largest `x` that the budget allows; `rate` does not fall as `x` grows.
fn pour(claims: &[Claim], budget: f64, rate: impl Fn(&Claim, f64) -> f64) -> Vec<f64> {
    let spent = |x: f64| claims.iter().map(|claim| rate(claim, x) * claim.cost).sum::<f64>();
    // No stream gets more than the whole budget, whatever arrives.
    let top = claims.iter().map(|claim| budget.max(0.0) / (claim.cost * claim.weight)).fold(0.0, f64::max);
    let (mut low, mut high) = (0.0, top.max(f64::MIN_POSITIVE));
    if spent(high) > budget {
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if spent(middle) > budget { high = middle } else { low = middle }
        }
    } else {
        low = high;
    }
    claims.iter().map(|claim| rate(claim, low)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(arrival: f64, floor: f64, weight: f64, cost: f64) -> Claim {
        Claim { arrival, floor, weight, cost }
    }

    proptest! {
        #[test]
        fn the_budget_is_spent_and_nobody_could_have_more_without_taking_it_from_one_who_has_less(
            all in prop::collection::vec((0.0f64..60.0, 0.0f64..5.0, 1u32..100, 0.1f64..10.0), 1..12),
            budget in 0.01f64..500.0,
        ) {
            let claims: Vec<Claim> = all.iter().map(|&(a, f, w, c)| claim(a, f, f64::from(w), c)).collect();
            let rates = shares(&claims, budget);
            let cost = |rate: &dyn Fn(usize) -> f64| (0..claims.len()).map(|i| rate(i) * claims[i].cost).sum::<f64>();
            let (spent, asked) = (cost(&|i| rates[i]), cost(&|i| claims[i].arrival));
            prop_assert!(spent <= budget * (1.0 + 1e-6), "{spent} of {budget}");
            prop_assert!(spent >= budget.min(asked) * (1.0 - 1e-6), "{spent} of {budget}, asked {asked}");
            let floors = cost(&|i| claims[i].floor.min(claims[i].arrival));
            for (i, (claim, rate)) in claims.iter().zip(&rates).enumerate() {
                prop_assert!(*rate >= 0.0 && *rate <= claim.arrival);
                let floor = claim.floor.min(claim.arrival);
                if floors <= budget {
                    prop_assert!(*rate >= floor * (1.0 - 1e-9));
                }
                // Who is held back, by his weight, has no less than anybody who is above the floor.
                let satisfied = *rate >= if floors <= budget { claim.arrival } else { floor } * (1.0 - 1e-6);
                for (j, other) in claims.iter().enumerate().filter(|_| !satisfied) {
                    let bound = if floors <= budget { other.floor.min(other.arrival) } else { 0.0 };
                    let more = rates[j] / other.weight > rate / claim.weight * (1.0 + 1e-6);
                    prop_assert!(!more || rates[j] <= bound * (1.0 + 1e-6), "{i} {rate}, {j} {}", rates[j]);
                }
            }
        }
    }

    #[test]
    fn by_weight_never_more_than_arrives_the_rest_to_the_others() {
        let near = |rates: Vec<f64>, expected: &[f64]| {
            let good = rates.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(good && rates.len() == expected.len(), "{rates:?} is not {expected:?}");
        };
        near(shares(&[claim(30.0, 0.0, 3.0, 1.0), claim(30.0, 0.0, 1.0, 1.0)], 8.0), &[6.0, 2.0]);
        near(shares(&[claim(3.0, 0.0, 3.0, 1.0), claim(30.0, 0.0, 1.0, 1.0)], 8.0), &[3.0, 5.0]);
        near(shares(&[claim(30.0, 2.0, 9.0, 1.0), claim(30.0, 2.0, 1.0, 1.0)], 8.0), &[6.0, 2.0]);
        near(shares(&[claim(30.0, 2.0, 3.0, 1.0), claim(30.0, 2.0, 1.0, 1.0)], 2.0), &[1.5, 0.5]);
        near(shares(&[claim(f64::INFINITY, 0.0, 1.0, 1.0), claim(2.0, 2.0, 1.0, 2.0)], 10.0), &[6.0, 2.0]);
        near(shares(&[], 1.0), &[]);
    }
}
