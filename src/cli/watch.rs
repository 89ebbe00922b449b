//! `maskd watch`: a live table of what daemons publish, or their masks messages as JSON lines.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use crate::{
    frame::StreamId,
    instance::Instance,
    publish::{
        DEFAULT_ENDPOINT, Reader, Received,
        keys::Site,
        wire::{self, Event, MasksMessage, State, Status},
    },
};

/// How long output that is not a table may stay silent before it says why.
const HINT_AFTER: Duration = Duration::from_secs(5);

/// Show what daemons publish: a live table, or JSON lines.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Where a daemon or a zenoh router listens; may be given several times.
    #[arg(long, value_name = "ENDPOINT", default_value = DEFAULT_ENDPOINT)]
    connect: Vec<String>,
    /// A zenoh configuration file (JSON5) to build on, for TLS: see configs/zenoh-reader.json5.
    #[arg(long, value_name = "FILE")]
    zenoh_config: Option<PathBuf>,
    /// Only this site.
    #[arg(long)]
    site: Option<Site>,
    /// Only this stream.
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamId>,
    /// One JSON object a line: each masks message as received, and {"gap":...} where some are missing.
    #[arg(long, visible_alias = "ndjson")]
    json: bool,
    /// Stop after this many masks messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after this time; an error if nothing (or less than --count) was received by then.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// A time in seconds, above 0 and at most a year.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0 && *s < 31_536_000.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use a number of seconds above 0, such as 10".to_owned())
}

/// Runs `maskd watch`. Ends well on Ctrl-C, on `--count`, and where the reader of standard output has gone.
pub fn run(args: WatchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match runtime.block_on(watch(args)) {
        Err(e) if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => Ok(()),
        other => other,
    }
}

async fn watch(args: WatchArgs) -> anyhow::Result<()> {
    let mut view = View::new(args.json);
    let mut watched = Watched::default();
    let deadline = args.timeout.map(|t| tokio::time::Instant::now() + t);
    let reader =
        Reader::open(&args.connect, args.zenoh_config.as_deref(), args.site.as_ref(), args.stream.as_ref()).await?;
    let done = follow(&reader, &args, &mut watched, &mut view);
    let finished = match deadline {
        Some(deadline) => timeout_at(deadline, done).await,
        None => Ok(done.await),
    };
    view.finish();
    reader.close().await;
    match (finished, args.count) {
        (Ok(result), _) => result,
        (Err(_), _) if watched.received == 0 => bail!(watched.why_nothing(&args.connect)),
        (Err(_), Some(count)) => bail!("only {} of {count} masks messages came in time", watched.received),
        (Err(_), None) => Ok(()),
    }
}

async fn follow(reader: &Reader, args: &WatchArgs, watched: &mut Watched, view: &mut View) -> anyhow::Result<()> {
    let mut tick = interval(view.period());
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut since = Some(Instant::now());
    loop {
        tokio::select! {
            received = reader.next() => {
                view.take(watched, received?)?;
                if args.count.is_some_and(|count| watched.received >= count) {
                    return view.draw(watched);
                }
            }
            _ = tick.tick() => {
                view.draw(watched)?;
                if watched.received == 0 && since.is_some_and(|t| t.elapsed() > HINT_AFTER) && !matches!(view, View::Table(_)) {
                    eprintln!("maskd watch: still waiting: {}", watched.why_nothing(&args.connect));
                    since = None;
                }
            }
            signal = tokio::signal::ctrl_c() => return signal.context("waiting for Ctrl-C"),
        }
    }
}

/// Where the output goes.
enum View {
    Json,
    Table(ProgressBar),
    Lines,
}

impl View {
    fn new(json: bool) -> Self {
        match json {
            true => Self::Json,
            false if io::stdout().is_terminal() => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
                Self::Table(
                    bar.with_style(
                        ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
                    ),
                )
            }
            false => Self::Lines,
        }
    }

    fn period(&self) -> Duration {
        match self {
            Self::Table(_) => Duration::from_millis(250),
            _ => Duration::from_secs(2),
        }
    }

    fn take(&self, watched: &mut Watched, received: Received) -> anyhow::Result<()> {
        let before = match &received {
            Received::Masks { message, .. } => watched.row(&message.site, &message.stream).last,
            _ => None,
        };
        if let (Self::Json, Received::Masks { message, raw, format, .. }) = (self, &received) {
            let mut out = io::stdout().lock();
            if let Some(gap) = before.map(|last| last.gap(message)).filter(Gap::any) {
                let (site, stream) = (message.site.to_string(), message.stream.as_str());
                let (frames, messages) = (gap.frames, gap.messages);
                let gap = serde_json::json!({"gap": {"site": site, "stream": stream, "before_sequence": message.sequence,
                    "missing_frames": frames, "lost_messages": messages}});
                writeln!(out, "{gap}")?;
            }
            writeln!(out, "{}", wire::to_json_line(raw, *format)?)?;
            out.flush()?;
        }
        if let Some(problem) = watched.update(received) {
            eprintln!("maskd watch: {problem}");
        }
        Ok(())
    }

    fn draw(&self, watched: &mut Watched) -> anyhow::Result<()> {
        match self {
            Self::Json => {}
            Self::Table(bar) => bar.set_message(watched.render(true)),
            Self::Lines => {
                let mut out = io::stdout().lock();
                out.write_all(watched.render(false).as_bytes())?;
                out.flush()?;
            }
        }
        Ok(())
    }

    fn finish(&self) {
        if let Self::Table(bar) = self {
            bar.abandon();
        }
    }
}

/// The numbers of a stream's newest message.
#[derive(Clone, Copy)]
struct Last {
    sequence: u64,
    number: u64,
}

/// What is missing between two messages.
struct Gap {
    /// Frames without a message, whoever dropped them.
    frames: u64,
    /// Messages lost between the daemon and here.
    messages: u64,
}

impl Gap {
    fn any(&self) -> bool {
        self.frames > 0 || self.messages > 0
    }
}

impl Last {
    /// Nothing is missing where the numbers start again: the daemon was restarted.
    fn gap(self, next: &MasksMessage) -> Gap {
        let between = |from: u64, to: u64| if next.number > self.number { to.saturating_sub(from + 1) } else { 0 };
        Gap { frames: between(self.sequence, next.sequence), messages: between(self.number, next.number) }
    }
}

#[derive(Default)]
struct Row {
    status: Option<Status>,
    state: &'static str,
    last: Option<Last>,
    skipped: u64,
    lost: u64,
    arrivals: VecDeque<Instant>,
    latency_ms: f64,
    instances: Vec<Instance>,
    coarsened: bool,
}

/// Everything seen so far.
#[derive(Default)]
struct Watched {
    rows: BTreeMap<(Site, StreamId), Row>,
    daemons: BTreeSet<String>,
    received: u64,
}

impl Watched {
    fn row(&mut self, site: &Site, stream: &StreamId) -> &mut Row {
        self.rows.entry((site.clone(), stream.clone())).or_default()
    }

    /// Takes in one message; returns what should be said about it outside the table.
    fn update(&mut self, received: Received) -> Option<String> {
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
                row.arrivals.push_back(Instant::now());
                row.coarsened = message.coarsened.is_some();
                row.instances = message.instances;
                row.state = "up";
            }
            Received::Event(message) => {
                let row = self.row(&message.site, &message.stream);
                match message.event {
                    Event::StreamUp => row.state = "up",
                    Event::StreamDown { .. } => row.state = "reconnecting",
                    Event::StreamEnded => row.state = "ended",
                    Event::Instance(_) => {}
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
            Received::Unreadable { key, cause } => return Some(format!("{key}: {cause}")),
        }
        None
    }

    /// One line a stream; in `full`, under a heading and with a line for each instance.
    fn render(&mut self, full: bool) -> String {
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
            let note = if row.coarsened { " (coarsened)" } else { "" };
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

    /// What to check when nothing came.
    fn why_nothing(&self, connect: &[String]) -> String {
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

impl Row {
    /// Messages a second over the last five seconds.
    fn fps(&self, now: Instant) -> f64 {
        match (self.arrivals.front(), self.arrivals.len()) {
            (Some(first), n) if n > 1 => (n - 1) as f64 / now.duration_since(*first).as_secs_f64().max(1e-3),
            _ => 0.0,
        }
    }
}
