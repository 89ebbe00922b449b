//! `maskd watch`: a live table of what daemons publish, or their masks messages as JSON lines; a video of it, if wanted.

mod record;
mod rows;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use record::Recorder;
use rows::{Gap, Watched};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout_at},
};

use super::options::{Connection, seconds};
use maskd_ingest::is_own_mp4;
use maskd_protocol::{keys::Site, wire};
use maskd_transport::{Reader, Received};
use maskd_types::{
    files::{self, Inputs},
    frame::StreamId,
};

/// How long output that is not a table may stay silent before it says why.
const HINT_AFTER: Duration = Duration::from_secs(5);

/// Show what daemons publish: a live table, or JSON lines.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  maskd watch                                        everything on this machine, until Ctrl-C
  maskd watch --stream gate --json > gate.ndjson     one JSON object a line
  maskd watch --record gate.mp4 --timeout 60         a minute of it, as a video with the masks drawn in")]
pub struct WatchArgs {
    #[command(flatten)]
    connection: Connection,
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
    /// Stop once every stream that was seen has ended or gone.
    #[arg(long)]
    until_end: bool,
    /// Also record what is seen, masks drawn in, at the network's resolution: of --stream, or of the stream whose
    /// picture comes first. The file must not be there yet.
    #[arg(long, value_name = "MP4")]
    record: Option<PathBuf>,
}

/// Runs `maskd watch`. Ends well on Ctrl-C and SIGTERM, on `--count`, and where the reader of standard output has gone.
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
    check_record(&args)?;
    let mut recorder = args.record.as_deref().map(Recorder::new).transpose()?;
    let (site, stream) = (args.site.as_ref(), args.stream.as_ref());
    let mut reader =
        Reader::open(&args.connection.connect, args.connection.zenoh_config.as_deref(), site, stream).await?;
    if recorder.is_some() {
        reader.look(site, stream).await?;
    }
    let done = follow(&reader, &args, &mut watched, &mut view, &mut recorder);
    let finished = match deadline {
        Some(deadline) => timeout_at(deadline, done).await,
        None => Ok(done.await),
    };
    view.finish();
    reader.close().await;
    // First of all the video: standard output may have gone, and what was recorded is not to go with it.
    let recorded = recorder.map(Recorder::finish).transpose();
    if let Ok(Some(said)) = &recorded {
        eprintln!("maskd watch: {said}");
    }
    if !args.json {
        io::stdout().lock().write_all(watched.summary().as_bytes())?;
    }
    recorded?;
    match (finished, args.count) {
        (Ok(result), _) => result,
        (Err(_), _) if watched.received == 0 => bail!(watched.why_nothing(&args.connection.connect)),
        (Err(_), Some(count)) => bail!("only {} of {count} masks messages came in time", watched.received),
        (Err(_), None) => Ok(()),
    }
}

/// Refuses a recording over what is read, or over anything else that is there.
fn check_record(args: &WatchArgs) -> anyhow::Result<()> {
    let Some(path) = &args.record else { return Ok(()) };
    let mut inputs = Inputs::default();
    if let Some(file) = &args.connection.zenoh_config {
        inputs.add("--zenoh-config", file);
    }
    inputs.refuse("--record", path)?;
    Ok(files::check_new(path, &is_own_mp4, "remove it, or give another --record")?)
}

async fn follow(
    reader: &Reader,
    args: &WatchArgs,
    watched: &mut Watched,
    view: &mut View,
    recorder: &mut Option<Recorder>,
) -> anyhow::Result<()> {
    let mut tick = interval(view.period());
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut since = Some(Instant::now());
    // Made once: a signal between two turns of the loop is kept for the next.
    let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for Ctrl-C")?;
    loop {
        tokio::select! {
            received = reader.next() => {
                let received = received?;
                if let (Received::Preview { site, stream, jpeg }, Some(recorder)) = (&received, recorder.as_mut()) {
                    // The encoder may make it wait.
                    tokio::task::block_in_place(|| recorder.take(Instant::now(), (site, stream), jpeg))?;
                    continue;
                }
                view.take(watched, received)?;
                let enough = args.count.is_some_and(|count| watched.received >= count);
                if enough || args.until_end && watched.all_ended() {
                    return view.draw(watched);
                }
            }
            _ = tick.tick() => {
                view.draw(watched)?;
                if watched.received == 0 && since.is_some_and(|t| t.elapsed() > HINT_AFTER) && !matches!(view, View::Table(_)) {
                    eprintln!("maskd watch: still waiting: {}", watched.why_nothing(&args.connection.connect));
                    since = None;
                }
            }
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
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
