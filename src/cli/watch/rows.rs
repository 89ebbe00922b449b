//! What was seen of each stream, and how it is shown: a table while it runs, a summary at the end.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    time::{Duration, Instant},
};

use maskd_protocol::{
    keys::Site,
    wire::{Account, Event, MasksMessage, State, Status},
};
use maskd_transport::Received;
use maskd_types::{
    frame::{Quality, StreamId},
    instance::{Instance, InstanceId},
};

/// Latencies that the summary is made of: the newest, so that watching for weeks takes no more memory.
const LATENCIES: usize = 50_000;

/// The numbers of a stream's newest message.
#[derive(Clone, Copy)]
pub(super) struct Last {
    sequence: u64,
    number: u64,
}

/// What is missing between two messages.
pub(super) struct Gap {
    /// Frames without a message, whoever dropped them.
    pub(super) frames: u64,
    /// Messages lost between the daemon and here.
    pub(super) messages: u64,
}

impl Gap {
    pub(super) fn any(&self) -> bool {
        self.frames > 0 || self.messages > 0
    }
}

impl Last {
    /// Nothing is missing where the numbers start again: the daemon was restarted.
    pub(super) fn gap(self, next: &MasksMessage) -> Gap {
        let between = |from: u64, to: u64| if next.number > self.number { to.saturating_sub(from + 1) } else { 0 };
        Gap { frames: between(self.sequence, next.sequence), messages: between(self.number, next.number) }
    }
}

/// One stream.
#[derive(Default)]
pub(super) struct Row {
    status: Option<Status>,
    state: &'static str,
    pub(super) last: Option<Last>,
    skipped: u64,
    lost: u64,
    arrivals: VecDeque<Instant>,
    latency_ms: f64,
    instances: Vec<Instance>,
    coarsened: bool,
    quality: Quality,
    tally: Tally,
}

/// What a stream's summary is made of.
#[derive(Default)]
struct Tally {
    messages: u64,
    time: Option<(Instant, Instant)>,
    latencies_ms: VecDeque<f64>,
    ids: BTreeSet<InstanceId>,
    most: usize,
}

/// Everything seen so far.
#[derive(Default)]
pub(super) struct Watched {
    rows: BTreeMap<(Site, StreamId), Row>,
    daemons: BTreeSet<String>,
    pub(super) received: u64,
}

impl Watched {
    pub(super) fn row(&mut self, site: &Site, stream: &StreamId) -> &mut Row {
        self.rows.entry((site.clone(), stream.clone())).or_default()
    }

    /// Takes in one message; returns what should be said about it outside the table.
    pub(super) fn update(&mut self, received: Received) -> Option<String> {
        match received {
            Received::Masks { message, received_unix_ns, .. } => {
                self.received += 1;
                let row = self.row(&message.site, &message.stream);
                if let Some(gap) = row.last.map(|last| last.gap(&message)) {
                    row.lost += gap.messages;
                    row.skipped += gap.frames.saturating_sub(gap.messages);
                }
                row.last = Some(Last { sequence: message.sequence, number: message.number });
                row.latency_ms = (received_unix_ns as f64 - message.captured_unix_ns as f64) / 1e6;
                let now = Instant::now();
                row.arrivals.push_back(now);
                row.tally.add(now, row.latency_ms, &message.instances);
                row.coarsened = message.coarsened.is_some();
                row.quality = message.quality;
                row.instances = message.instances;
                row.state = "up";
            }
            Received::Event(message) => {
                let row = self.row(&message.site, &message.stream);
                match message.event {
                    Event::StreamUp => row.state = "up",
                    Event::StreamDown { .. } => row.state = "reconnecting",
                    Event::StreamEnded => row.state = "ended",
                    Event::Instance(_) | Event::FirstMaskRefused { .. } => {}
                }
            }
            Received::Status(message) => {
                let row = self.row(&message.site, &message.stream);
                row.state = match message.status.state {
                    State::Up => "up",
                    State::Down => "down",
                    State::Reconnecting => "reconnecting",
                };
                row.status = Some(message.status);
            }
            Received::Alive { stream: Some((site, stream)), alive, .. } => {
                let row = self.row(&site, &stream);
                match alive {
                    true if ["", "gone"].contains(&row.state) => row.state = "starting",
                    true => {}
                    false => {
                        row.state = "gone";
                        row.instances.clear();
                    }
                }
            }
            Received::Alive { key, stream: None, alive: true } => drop(self.daemons.insert(key)),
            Received::Alive { key, stream: None, alive: false } => drop(self.daemons.remove(&key)),
            // For the recorder.
            Received::Preview { .. } => {}
            Received::Unreadable { key, cause } => return Some(format!("{key}: {cause}")),
        }
        None
    }

    /// One line a stream; in `full`, under a heading and with a line for each instance.
    pub(super) fn render(&mut self, full: bool) -> String {
        let mut out = String::new();
        if full && self.rows.is_empty() {
            return "waiting for a daemon ... (Ctrl-C ends)".to_owned();
        }
        if full {
            out += "STREAM                 STATE          FPS     FRAME  LOST  SKIPPED  LATENCY  INSTANCES";
        }
        let now = Instant::now();
        for ((site, stream), row) in &mut self.rows {
            while row.arrivals.front().is_some_and(|t| now.duration_since(*t) > Duration::from_secs(5)) {
                row.arrivals.pop_front();
            }
            let name = format!("{site}/{stream}");
            let fps = row.fps(now);
            let frame = row.last.map_or("-".to_owned(), |last| last.sequence.to_string());
            let count = row.instances.len();
            let note = row.note();
            let (state, lost, skipped) = (row.state, row.lost, row.skipped);
            let latency = row.last.map_or("-".to_owned(), |_| format!("{:.0} ms", row.latency_ms));
            // Writing to a String cannot fail.
            let _ = if full {
                write!(
                    out,
                    "\n{name:<22} {state:<12} {fps:>5.1} {frame:>9} {lost:>5} {skipped:>8} {latency:>8}  {count}{note}"
                )
            } else {
                writeln!(
                    out,
                    "{name} {state} fps {fps:.1} frame {frame} lost {lost} skipped {skipped} latency {latency} instances {count}{note}"
                )
            };
            if !full {
                continue;
            }
            if let Some(account) = row.status.as_ref().map(|status| &status.account) {
                let _ = write!(out, "\n    {}", said(account));
            }
            if let Some(reason) = row.status.as_ref().filter(|_| row.state != "up").and_then(|s| s.reason.as_ref()) {
                let _ = write!(out, "\n    {reason}");
            }
            for Instance { id, age, score, bbox, area, .. } in &row.instances {
                let _ = write!(
                    out,
                    "\n    #{id:<5} age {age:<6} score {score:.2}  box {},{} {}x{}  area {area}",
                    bbox.x, bbox.y, bbox.width, bbox.height
                );
            }
        }
        out
    }

    /// Whether there were streams, and each has ended or its daemon has gone.
    pub(super) fn all_ended(&self) -> bool {
        !self.rows.is_empty() && self.rows.values().all(|row| ["ended", "gone"].contains(&row.state))
    }

    /// What is left to say at the end: one paragraph for each stream that masks came from.
    pub(super) fn summary(&self) -> String {
        let mut out = String::new();
        for ((site, stream), row) in self.rows.iter().filter(|(_, row)| row.tally.messages > 0) {
            let tally = &row.tally;
            let seconds = tally.time.map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64());
            let fps = (tally.messages - 1) as f64 / seconds.max(1e-3);
            let (median, p95) = (tally.latency(0.5), tally.latency(0.95));
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "{site}/{stream}: {} frames in {seconds:.1} s ({fps:.1} a second)\n  \
                 latency from the camera to here: {median:.0} ms (median), {p95:.0} ms (95 %)\n  \
                 instances: {} seen, at most {} at once\n  \
                 frames not shown: {} dropped by the daemon, {} lost on the way\n",
                tally.messages,
                tally.ids.len(),
                tally.most,
                row.skipped,
                row.lost
            );
            for (stage, causes) in row.status.iter().flat_map(|status| &status.account.dropped) {
                for (cause, count) in causes {
                    let _ = writeln!(out, "    {stage}/{cause}: {count} since the daemon started");
                }
            }
        }
        out
    }

    /// What to check when nothing came.
    pub(super) fn why_nothing(&self, connect: &[String]) -> String {
        let at = connect.join(", ");
        if self.rows.is_empty() && self.daemons.is_empty() {
            return format!(
                "nobody is publishing at {at}: check that maskd runs there, that [publish] listens on an address reachable from here, and --site and --stream"
            );
        }
        let states: Vec<_> = self
            .rows
            .iter()
            .map(|((site, stream), row)| {
                let reason =
                    row.status.as_ref().and_then(|s| s.reason.as_deref()).map_or(String::new(), |r| format!(" ({r})"));
                format!("{site}/{stream} {}{reason}", row.state)
            })
            .collect();
        let streams = if states.is_empty() { "it has no such stream".to_owned() } else { states.join(", ") };
        format!("a daemon is at {at}, but no masks came: {streams}; look at its log and its /metrics")
    }
}

/// Where the frames of a stream are, as its daemon counts them.
fn said(account: &Account) -> String {
    let dropped = account.dropped().map_or("?".to_owned(), |count| count.to_string());
    let Account { captured, published, in_flight, .. } = account;
    let wrong = if account.balances() { "" } else { "  (does not add up)" };
    format!("{captured} captured = {published} published + {dropped} dropped + {in_flight} in flight{wrong}")
}

impl Row {
    /// What is less than it could be.
    fn note(&self) -> String {
        let mut note = if self.coarsened { " (coarsened)".to_owned() } else { String::new() };
        let Quality { level, rate } = self.quality;
        // Writing to a String cannot fail.
        let _ = match rate {
            Some(rate) if level < 1.0 => write!(note, " (overload: {level} of the resolution, at most {rate:.1} fps)"),
            Some(rate) => write!(note, " (overload: at most {rate:.1} fps)"),
            None if level < 1.0 => write!(note, " (overload: {level} of the resolution)"),
            None => Ok(()),
        };
        note
    }

    /// Messages a second over the last five seconds.
    fn fps(&self, now: Instant) -> f64 {
        match (self.arrivals.front(), self.arrivals.len()) {
            (Some(first), n) if n > 1 => (n - 1) as f64 / now.duration_since(*first).as_secs_f64().max(1e-3),
            _ => 0.0,
        }
    }
}

impl Tally {
    fn add(&mut self, now: Instant, latency_ms: f64, instances: &[Instance]) {
        self.messages += 1;
        self.time = Some((self.time.map_or(now, |(first, _)| first), now));
        if self.latencies_ms.len() == LATENCIES {
            self.latencies_ms.pop_front();
        }
        self.latencies_ms.push_back(latency_ms);
        self.ids.extend(instances.iter().map(|instance| instance.id));
        self.most = self.most.max(instances.len());
    }

    /// The latency that a share of `quantile` does not exceed, in milliseconds.
    fn latency(&self, quantile: f64) -> f64 {
        let mut sorted: Vec<f64> = self.latencies_ms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use maskd_types::{frame::Size, instance::BBox, mask::Rle};

    #[test]
    fn the_summary_has_quantiles_and_counts_each_instance_once() {
        let start = Instant::now();
        let mut tally = Tally::default();
        assert_eq!(tally.latency(0.5), 0.0);
        let seen = |id| Instance {
            id,
            age: 1,
            score: 1.0,
            bbox: BBox { x: 0, y: 0, width: 1, height: 1 },
            area: 1,
            mask: Rle::from_mask(Size::new(1, 1), &[true]),
        };
        for i in 0..101 {
            tally.add(start + Duration::from_millis(100 * u64::from(i)), f64::from(i), &[seen(1), seen(2 + i / 51)]);
        }
        assert_eq!((tally.latency(0.5), tally.latency(0.95), tally.ids.len(), tally.most), (50.0, 95.0, 3, 2));
        assert_eq!(tally.time, Some((start, start + Duration::from_secs(10))));
    }
}
