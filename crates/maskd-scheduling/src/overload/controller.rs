//! From what arrives and what the engine takes to a rate for each stream and a level for all.

use super::{
    OverloadConfig,
    costs::Costs,
    shares::{Claim, shares},
};

/// A rate that would change by no more than this share stays as it is.
const DEAD_BAND: f64 = 0.05;

/// A stream with fewer frames a second than this asks for nothing: a mean fades, and never quite ends.
const SILENT: f64 = 0.05;

/// What one stream asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Frames a second that arrive.
    pub arrival: f64,
    /// Its share beside the others', above 0.
    pub weight: f64,
    /// Patches of one of its frames, by level.
    pub patches: Vec<f64>,
    /// It waits until its frame is taken: it takes what the others leave, and nothing is let go.
    pub patient: bool,
    /// The rate that it is held to at present.
    pub limit: Option<f64>,
}

/// What the controller has decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The resolution, as a position in [`OverloadConfig::levels`].
    pub level: usize,
    /// For each stream the frames a second that it is held to; `None` where it is not held back.
    pub rates: Vec<Option<f64>>,
    /// Share of the engine's time that everything that arrives would take at this level; above 1 cameras outrun it.
    pub load: f64,
}

/// Which way the level should go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Down,
    Up,
}

/// Decides. It remembers what work costs and why the level should change.
#[derive(Clone, Debug)]
pub struct Controller {
    config: OverloadConfig,
    costs: Costs,
    level: usize,
    /// Which way, and since when without a break.
    wanted: Option<(Way, f64)>,
    /// When the level changed; `None` once that is longer ago than the dwell time.
    stepped: Option<f64>,
}

impl Controller {
    /// Starts at full resolution.
    pub fn new(config: OverloadConfig) -> Self {
        let costs = Costs::new(config.levels.len());
        Self { config, costs, level: 0, wanted: None, stepped: None }
    }

    /// The engine worked on so many patches, all at the level of the last plan, for so many seconds until `now`.
    pub fn worked(&mut self, now: f64, patches: f64, seconds: f64) {
        self.costs.worked(now, patches, seconds);
    }

    /// What is to be done from `now` on; `demands` are those of all streams.
    pub fn plan(&mut self, now: f64, demands: &[Demand]) -> Decision {
        self.choose_level(now, demands);
        let Some(cost) = self.costs.per_patch(self.level) else {
            return Decision { level: self.level, rates: vec![None; demands.len()], load: 0.0 };
        };
        let claims: Vec<Claim> = demands.iter().map(|demand| self.claim(demand, cost)).collect();
        let load = demands.iter().zip(&claims).map(|(demand, claim)| demand.arrival * claim.cost).sum();
        let asked: f64 = claims.iter().map(|claim| claim.arrival * claim.cost).sum();
        // One stream alone has nobody to make room for, and the mailbox gives it the newest frame as soon as there is
        // time for one.
        let alone = claims.iter().filter(|claim| claim.arrival > SILENT).count() <= 1;
        let rates = if alone || asked <= self.config.target_load {
            vec![None; demands.len()]
        } else {
            let rates = shares(&claims, self.config.target_load);
            demands.iter().zip(rates).map(|(demand, rate)| limit(demand, rate)).collect()
        };
        Decision { level: self.level, rates, load }
    }

    fn claim(&self, demand: &Demand, cost: f64) -> Claim {
        let cost = (cost * demand.patches_at(self.level)).max(f64::MIN_POSITIVE);
        let (arrival, floor) =
            if demand.patient { (f64::INFINITY, 0.0) } else { (demand.arrival.max(0.0), self.config.min_fps) };
        Claim { arrival, floor, weight: demand.weight, cost }
    }

    /// Share of the engine's time that the floors of all streams take at `level`.
    fn floor_load(&self, level: usize, demands: &[Demand]) -> Option<f64> {
        let floor = |demand: &Demand| demand.arrival.min(self.config.min_fps) * demand.patches_at(level);
        Some(demands.iter().filter(|demand| !demand.patient).map(floor).sum::<f64>() * self.costs.per_patch(level)?)
    }

    /// Which way the load pushes: down where the floors do not fit here, up where they would fit well one level higher.
    /// Between the two nothing moves.
    fn push(&self, demands: &[Demand]) -> Option<Way> {
        let lower = self.level + 1 < self.config.levels.len();
        if lower && self.floor_load(self.level, demands)? > self.config.target_load {
            return Some(Way::Down);
        }
        let higher = self.level.checked_sub(1)?;
        (self.floor_load(higher, demands)? < self.config.recover_load).then_some(Way::Up)
    }

    fn choose_level(&mut self, now: f64, demands: &[Demand]) {
        let dwell = self.config.dwell_seconds;
        if self.stepped.is_some_and(|then| now - then >= dwell) {
            self.stepped = None;
            self.costs.settle();
        }
        self.wanted = match (self.push(demands), self.wanted) {
            (Some(way), Some((before, since))) if way == before => Some((way, since)),
            (push, _) => push.map(|way| (way, now)),
        };
        let Some((way, _)) = self.wanted.filter(|(_, since)| now - since >= dwell && self.stepped.is_none()) else {
            return;
        };
        self.level = if way == Way::Down { self.level + 1 } else { self.level - 1 };
        let frame = demands.iter().map(|demand| demand.patches_at(self.level)).fold(0.0, f64::max);
        self.costs.switch(self.level, frame);
        (self.wanted, self.stepped) = (None, Some(now));
    }
}

impl Demand {
    fn patches_at(&self, level: usize) -> f64 {
        self.patches.get(level).copied().unwrap_or_default()
    }
}

/// The rate that a stream is held to; a small change is none.
fn limit(demand: &Demand, rate: f64) -> Option<f64> {
    if demand.patient || rate >= demand.arrival * (1.0 - 1e-6) {
        return None;
    }
    let same = |old: &f64| (rate - old).abs() <= DEAD_BAND * old;
    Some(demand.limit.filter(same).unwrap_or(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(arrival: f64, weight: f64) -> Demand {
        Demand { arrival, weight, patches: vec![100.0, 56.0, 25.0], patient: false, limit: None }
    }

    /// A controller that knows that a frame takes 0.1 s at full resolution.
    fn ten_a_second() -> Controller {
        let mut controller = Controller::new(OverloadConfig::default());
        controller.worked(0.0, 100.0, 0.1);
        controller
    }

    #[test]
    fn before_any_work_nothing_is_held_back() {
        let decision = Controller::new(OverloadConfig::default()).plan(0.0, &[stream(60.0, 1.0), stream(60.0, 1.0)]);
        assert_eq!(decision, Decision { level: 0, rates: vec![None, None], load: 0.0 });
    }

    #[test]
    fn a_lone_camera_faster_than_the_engine_is_left_to_the_mailbox() {
        let mut controller = ten_a_second();
        for second in 0..100 {
            let decision = controller.plan(f64::from(second), &[stream(30.0, 1.0), stream(0.01, 1.0)]);
            assert_eq!((decision.level, decision.rates), (0, vec![None, None]));
            assert!((decision.load - 3.0).abs() < 0.01, "{}", decision.load);
        }
    }

    #[test]
    fn weights_decide_and_small_changes_are_none() {
        let mut controller = ten_a_second();
        let decision = controller.plan(0.0, &[stream(30.0, 3.0), stream(30.0, 1.0), stream(1.0, 1.0)]);
        let rates: Vec<f64> = decision.rates.iter().map(|rate| rate.unwrap_or(f64::NAN)).collect();
        assert!((rates[0] - 6.375).abs() < 1e-6 && (rates[1] - 2.125).abs() < 1e-6, "{rates:?}");
        assert_eq!(decision.rates[2], None, "what arrives in less than its share is not held back");
        let held = |rate| vec![Demand { limit: Some(rate), ..stream(30.0, 1.0) }, stream(30.0, 1.0)];
        assert_eq!(controller.plan(0.5, &held(4.6)).rates[0], Some(4.6));
        assert!((controller.plan(1.0, &held(4.0)).rates[0].unwrap() - 4.75).abs() < 1e-6);
    }

    #[test]
    fn a_file_that_waits_takes_what_is_left_and_lowers_nothing() {
        let mut controller = ten_a_second();
        let file = Demand { patient: true, ..stream(9.0, 1.0) };
        for second in 0..100 {
            let decision = controller.plan(f64::from(second), &[file.clone(), stream(2.0, 1.0)]);
            assert_eq!((decision.level, decision.rates), (0, vec![None, None]));
        }
    }

    #[test]
    fn the_level_waits_for_the_dwell_time_both_ways() {
        let mut controller = ten_a_second();
        let eight: Vec<Demand> = (0..8).map(|_| stream(10.0, 1.0)).collect();
        let level = |controller: &mut Controller, now, demands: &[Demand]| controller.plan(now, demands).level;
        assert_eq!([0.0, 4.9].map(|now| level(&mut controller, now, &eight)), [0, 0]);
        // A moment without the reason starts the wait again.
        assert_eq!(level(&mut controller, 5.0, &eight[..1]), 0);
        assert_eq!([6.0, 10.9, 11.0].map(|now| level(&mut controller, now, &eight)), [0, 0, 1]);
        assert_eq!([12.0, 16.9, 17.1].map(|now| level(&mut controller, now, &eight[..1])), [1, 1, 0]);
    }
}
