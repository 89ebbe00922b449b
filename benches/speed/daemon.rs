//! The real program at work, read from outside: its metrics, its memory, its threads.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;

use super::child::resident_mb;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A running `maskd run`. Dropped, it is killed.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    metrics: String,
    /// How many streams it has.
    streams: usize,
    _folder: tempfile::TempDir,
}

/// What the daemon said at one moment.
pub struct Look {
    text: String,
    /// When it was asked.
    pub at: Instant,
    /// Processor time of GStreamer's threads, in seconds.
    pub decoding_s: f64,
}

impl Daemon {
    /// Starts it with `weights`, or with those that maskd carries, and `streams`, which are tables of its configuration.
    pub fn start(weights: Option<&Path>, streams: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("maskd.toml");
        let weights = weights.map_or(String::new(), |path| format!("weights = '{}'\n", path.display()));
        let text = format!(
            "[model]\n{weights}device = 'cpu'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [publish]\nlisten = ['tcp/127.0.0.1:0']\n{streams}"
        );
        fs::write(&file, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_maskd"));
        command.args(["run", "--config"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env_remove("MASKD_LOG").env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        let mut child = command.spawn().context("starting maskd")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (log.clone(), child.stderr.take().context("no pipe")?);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().push(line);
            }
        });
        let count = streams.matches("[streams.").count();
        let mut daemon = Self { child, log, metrics: String::new(), streams: count, _folder: folder };
        let address = daemon.until("its address", |daemon| {
            let line = daemon.logged().into_iter().find(|line| line.contains("health and metrics on"))?;
            Some(line.split_once("http://")?.1.split('/').next()?.to_owned())
        })?;
        daemon.metrics = format!("http://{address}/metrics");
        Ok(daemon)
    }

    /// Waits until every stream has published `frames` frames.
    pub fn published(&mut self, frames: u64) -> Result<Look> {
        self.until(&format!("{frames} published frames"), |daemon| {
            let look = daemon.look().ok()?;
            // A stream that has published nothing has no counter yet.
            let there =
                look.series("maskd_frames_published_total").filter(|(_, count)| *count >= frames as f64).count();
            (there == daemon.streams).then_some(look)
        })
    }

    pub fn look(&self) -> Result<Look> {
        let text = ureq::get(&self.metrics).call()?.body_mut().read_to_string()?;
        Ok(Look { text, at: Instant::now(), decoding_s: self.decoding_s()? })
    }

    /// Its highest resident memory so far, MB.
    pub fn peak_mb(&self) -> Result<f64> {
        resident_mb(&self.child.id().to_string(), "VmHWM")
    }

    fn logged(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    fn until<T>(&mut self, awaited: &str, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if began.elapsed() > PATIENCE || self.child.try_wait()?.is_some() {
                bail!("maskd gave no {awaited}; its log:\n{}", self.logged().join("\n"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Decoding, scaling and converting happen in GStreamer's threads, which are those that nobody else named.
    fn decoding_s(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            // A thread that has ended meanwhile is not counted.
            let Some((name, time)) = cpu_time(&task) else { continue };
            if is_gstreamer(&name) {
                nanoseconds += time;
            }
        }
        Ok(nanoseconds / 1e9)
    }
}

/// A thread's name and the nanoseconds that it ran for.
fn cpu_time(task: &Path) -> Option<(String, f64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let time = fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()?;
    Some((name.trim().to_owned(), time))
}

/// Threads of a pipeline are named after its elements.
fn is_gstreamer(name: &str) -> bool {
    name.contains(':') || name.starts_with("gst")
}

impl Look {
    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(name)?.strip_prefix('{')?;
            Some((labels, value.parse().ok()?))
        })
    }

    /// The sum of a metric over all labels.
    pub fn total(&self, name: &str) -> f64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// Milliseconds in `stage`, and how often, since `before`.
    pub fn stage_since(&self, before: &Self, stage: &str) -> (f64, f64) {
        let label = format!("stage=\"{stage}\"");
        let of = |look: &Self, what: &str| -> f64 {
            let name = format!("maskd_stage_latency_seconds_{what}");
            look.series(&name).filter(|(labels, _)| labels.contains(&label)).map(|(_, value)| value).sum()
        };
        (1e3 * (of(self, "sum") - of(before, "sum")), of(self, "count") - of(before, "count"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
