//! The real program as a child process: its log is read line by line, and it never outlives its test.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use super::until;

/// `maskd` with `args`, to its end.
pub fn maskd(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// `maskd` with `args`, running; its output is kept.
pub fn spawn(args: &[&str]) -> Child {
    command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal by its name, such as `TERM`.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maskd"));
    command.args(args).env_remove("MASKD_LOG").env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
    command.env_remove("CREDENTIALS_DIRECTORY");
    command
}

/// A port of the loopback interface that nobody listens on now, and that nobody is given by chance: it lies below those
/// that the system hands out to connections.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    std::iter::repeat_with(|| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
        .take(COUNT as usize)
        .map(|n| (FIRST + n % COUNT) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// A running `maskd run --config`. Dropped, it is killed.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    endpoint: String,
}

impl Daemon {
    /// As [`Daemon::start_at`], for a network that sees next to nothing: fast.
    pub fn start(folder: &Path, weights: &Path, config: &str, env: &[(&str, &str)]) -> Self {
        Self::start_at(64, folder, weights, config, env)
    }

    /// Starts it on `config` (written to `folder`), with frames of `short_side`, JSON logs, free ports and `env`.
    pub fn start_at(short_side: u32, folder: &Path, weights: &Path, config: &str, env: &[(&str, &str)]) -> Self {
        let endpoint = format!("tcp/127.0.0.1:{}", free_port());
        let config = format!("short_side = {short_side}\n[publish]\nlisten = ['{endpoint}']\n{config}");
        Self::start_on(endpoint, folder, weights, &config, env)
    }

    /// Starts it on `config`, which begins with keys of `[model]` and has it publish at `endpoint`.
    pub fn start_on(endpoint: String, folder: &Path, weights: &Path, config: &str, env: &[(&str, &str)]) -> Self {
        let path = folder.join("maskd.toml");
        let text = format!(
            "log = {{ format = 'json' }}\nadmin = {{ listen = '127.0.0.1:0' }}\n\
             [model]\nweights = '{}'\ndevice = 'cpu'\n{config}",
            weights.display(),
        );
        std::fs::write(&path, text).unwrap();
        let mut command = command(&["run", "--config", path.to_str().unwrap()]);
        command.envs(env.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = log.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, log, reader: Some(reader), endpoint }
    }

    /// Where it publishes.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Log lines as JSON; the last line of a failure is plain text and left out.
    pub fn events(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a log line that holds `text`. Panics with the log if the process ends without.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        until(&format!("{text:?} in the log"), || {
            let line = self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
            let ended = line.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!ended, "maskd ended without {text:?}:\n{}", self.log());
            line
        })
    }

    /// Where health and metrics are.
    pub fn admin(&mut self) -> SocketAddr {
        let line = self.wait_for_log("health and metrics on http://");
        let address = line.split_once("http://").unwrap().1;
        address[..address.find('/').unwrap()].parse().unwrap()
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the process's own end.
    pub fn wait(&mut self) -> ExitStatus {
        let status = until("the end of maskd", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- maskd's log\n{}\n---", self.log());
        }
    }
}

/// Status and body of `GET path`.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The sum of a counter's samples whose labels hold all of `labels`.
pub fn counter(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let of = series.starts_with(&format!("{name}_total{{")) && labels.iter().all(|label| series.contains(label));
        of.then(|| value.parse::<f64>().unwrap() as u64)
    };
    metrics.lines().filter_map(sample).sum()
}

/// Checks that a command failed with `code` and one error that says `words`.
pub fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("maskd: error: ")).collect();
    assert_eq!(errors.len(), 1, "{words:?}: {text}");
    for word in words {
        assert!(errors[0].contains(word), "{text} lacks {word:?}");
    }
}
