//! Nothing more can be written: the log goes to a full disk or to a pipe that nobody reads, results to a full disk.

use std::{
    fs::File,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use maskd::frame::Size;

use super::{
    fault::{Fault, Scale},
    outcome::Outcome,
    skip::skip,
    support::{
        audit::audit,
        process::{free_port, get},
        scene::Scene,
        until,
        weights::TinyVit,
    },
};

/// The one that leaves the daemon running.
pub const FAULTS: &[Fault] = &[Fault {
    name: "log-stuck",
    what: "nobody reads the daemon's log (all of zenoh's and its own inner life, in a pipe) for 3 s",
    run,
}];

/// A daemon that draws its own picture and logs wherever it is told to.
struct Logging {
    child: Child,
    admin: SocketAddr,
    _home: tempfile::TempDir,
}

impl Logging {
    fn start(log: Stdio) -> Self {
        let home = tempfile::tempdir().unwrap();
        let weights = home.path().join("tiny.safetensors");
        TinyVit::default().write(&weights, 7);
        let (admin, config) = (free_port(), home.path().join("maskd.toml"));
        let text = format!(
            "[model]\nweights = '{}'\nshort_side = 64\n[admin]\nlisten = '127.0.0.1:{admin}'\n\
             [publish]\nlisten = ['tcp/127.0.0.1:0']\n[streams.pic]\nkind = 'test'\n",
            weights.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_maskd"));
        command.args(["run", "--config"]).arg(&config).env("MASKD_LOG", "trace").stdout(Stdio::null()).stderr(log);
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        Self { child: command.spawn().unwrap(), admin: ([127, 0, 0, 1], admin).into(), _home: home }
    }

    fn log(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    fn metrics(&mut self) -> Option<String> {
        assert!(self.child.try_wait().unwrap().is_none(), "the daemon has ended");
        std::net::TcpStream::connect(self.admin).ok()?;
        Some(get(self.admin, "/metrics").1)
    }

    /// Waits for more published frames.
    fn flows(&mut self, frames: u64) {
        let mut published = || audit(&self.metrics()?).get("pic").map(|book| book.published);
        let before = published().unwrap_or(0);
        until("published frames", || (published()? >= before + frames).then_some(()));
    }

    /// Mean milliseconds from decoder to zenoh of the frames of the coming `time`.
    fn latency_ms(&mut self, time: Duration) -> f64 {
        let mut total = || {
            let metrics = until("metrics", || self.metrics());
            ["sum", "count"].map(|what| {
                let name = format!("maskd_stage_latency_seconds_{what}{{stage=\"Total\"}} ");
                metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse::<f64>().unwrap()
            })
        };
        let (start, before) = (Instant::now(), total());
        until("time to pass", || (start.elapsed() >= time).then_some(()));
        let after = total();
        assert!(after[1] > before[1] + 5.0, "it does not go on");
        1e3 * (after[0] - before[0]) / (after[1] - before[1])
    }

    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let status = until("the end of maskd", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(scale: Scale) -> Vec<Outcome> {
    let once = |_| {
        let mut it = Logging::start(Stdio::piped());
        let mut log = it.log();
        // Reads as long as it may.
        let (go_on, may) = std::sync::mpsc::sync_channel::<()>(0);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Err(std::sync::mpsc::TryRecvError::Empty) = may.try_recv() {
                if log.read(&mut bytes).unwrap_or(0) == 0 {
                    break;
                }
            }
            log
        });
        it.flows(5);
        let before = vec![it.latency_ms(Duration::from_secs(2))];
        drop(go_on);
        let _open = reader.join().unwrap();
        let during = vec![it.latency_ms(Duration::from_secs(3))];
        it.stop();
        Outcome { before, during, ..Outcome::default() }
    };
    (0..scale.repeats).map(once).collect()
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    run(Scale::TEST);
}

#[test]
fn a_log_on_a_full_disk_is_nobodys_end() {
    let mut it = Logging::start(File::options().write(true).open("/dev/full").unwrap().into());
    it.flows(10);
    it.stop();
    // Nor does it change what the exit code tells.
    let mut command = Command::new(env!("CARGO_BIN_EXE_maskd"));
    command.args(["run", "--config", "/nowhere.toml"]);
    let ended = command.stderr(File::options().write(true).open("/dev/full").unwrap()).status().unwrap();
    assert_eq!(ended.code(), Some(74));
}

/// Runs `maskd` with a disk of `kib` KiB at `folder`, seen by it alone; says what it said and which files it left there.
/// `None` where the system lets nobody have such a disk.
fn with_small_disk(folder: &Path, kib: u32, args: &[&str]) -> Option<(Option<i32>, String, Vec<String>)> {
    let (disk, listing) = (folder.join("disk"), folder.join("left"));
    std::fs::create_dir_all(&disk).unwrap();
    let script = "mount -t tmpfs -o size=\"$KIB\"k tmpfs \"$DISK\" || exit 99; \"$@\"; code=$?; \
                  find \"$DISK\" -mindepth 1 -printf '%P\\n' >\"$LEFT\"; exit $code";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_maskd")]);
    command.args(args).env("KIB", kib.to_string()).env("DISK", &disk).env("LEFT", &listing).env_remove("MASKD_LOG");
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !listing.exists() {
        skip(&format!("no user and mount namespaces here: {}", text.trim()));
        return None;
    }
    let left = std::fs::read_to_string(&listing).unwrap().lines().map(str::to_owned).collect();
    Some((output.status.code(), text, left))
}

fn footage(folder: &Path) -> (PathBuf, PathBuf) {
    let (weights, film) = (folder.join("tiny.safetensors"), folder.join("film.mp4"));
    TinyVit::default().write(&weights, 7);
    Scene { size: Size::new(160, 120), frames: 40, fps: 10 }.write_video(&film);
    (weights, film)
}

#[test]
fn results_on_a_full_disk_are_an_error_and_none_is_left_half_written() {
    let home = tempfile::tempdir().unwrap();
    let (weights, film) = footage(home.path());
    let disk = home.path().join("disk");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (film, weights) = (text(&film), text(&weights));
    let (masks, video) = (text(&disk.join("masks")), text(&disk.join("seen.mp4")));
    for (more, kib) in [(&[][..], 8), (&["--overlay", &video][..], 24)] {
        let args = ["segment", &film, "--weights", &weights, "--short-side", "64", "--out", &masks];
        let Some((code, said, left)) = with_small_disk(home.path(), kib, &[&args[..], more].concat()) else { return };
        assert_eq!(code, Some(74), "{said}\n{left:?}");
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("maskd: error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains("No space left on device"), "{said}");
        assert!(errors[0].contains(disk.to_str().unwrap()), "it names the place: {said}");
        // Whole masks may stay: they are right. What was being written may not.
        assert!(left.iter().all(|name| name == "masks" || name.ends_with(".png")), "{left:?}");
        assert!(!left.iter().any(|name| name.contains("unfinished") || name.ends_with(".mp4")), "{left:?}");
    }
}
