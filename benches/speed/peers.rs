//! The peers, each a process of its own (benches/peers.py) that is stopped while it is not its turn, so that no engine's
//! idle threads spin on cores that another is timed on.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{network::Work, spread::Spread};

/// Names as people know them, and as benches/peers.py does.
const ENGINES: [(&str, &str); 4] = [
    ("PyTorch", "torch"),
    ("ONNX Runtime", "onnxruntime"),
    ("OpenVINO", "openvino"),
    ("OpenVINO bf16", "openvino-bf16"),
];

/// Where `make bench` says a Python with the peers is.
const PYTHON: &str = "MASKD_PEERS_PYTHON";

/// One peer's process.
pub struct Peer {
    pub name: &'static str,
    pub version: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

fn python() -> Option<PathBuf> {
    std::env::var_os(PYTHON).filter(|python| !python.is_empty()).map(PathBuf::from)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(name)
}

/// Every peer that can be had; of each other one it says loudly why not.
pub fn start_all() -> Vec<Peer> {
    let Some(python) = python() else {
        eprintln!("SKIPPED PyTorch, ONNX Runtime, OpenVINO: {PYTHON} names no Python ('make bench' sees to it)");
        return Vec::new();
    };
    let start = |(name, engine)| match Peer::start(&python, name, engine) {
        Ok(peer) => Some(peer),
        Err(error) => {
            eprintln!("SKIPPED {name}: {error:#}");
            None
        }
    };
    // Where the CPU does not multiply it, OpenVINO would compute in float32 all the same.
    let has = |engine: &str| !engine.ends_with("bf16") || maskd::kernels::bf16::is_available();
    ENGINES.into_iter().filter(|(_, engine)| has(engine)).filter_map(start).collect()
}

/// The network as ONNX, which two of the peers read.
pub fn export(work: &Work, path: &Path) -> Result<()> {
    let python = python().context("no Python")?;
    let mut command = Command::new(python);
    command.arg(script("peers.py")).arg("export").arg(path).arg(work.spec());
    let done = command.output().context("starting Python")?;
    if !done.status.success() {
        bail!("export to ONNX: {}", String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or("no word"));
    }
    Ok(())
}

/// The pictures of growth beside the result.
pub fn plot(result: &Path) {
    let drawn = python().map(|python| Command::new(python).arg(script("plot.py")).arg(result).status());
    match drawn {
        Some(Ok(status)) if status.success() => {}
        _ => eprintln!("SKIPPED the pictures of growth: no Python with matplotlib ({PYTHON})"),
    }
}

impl Peer {
    fn start(python: &Path, name: &'static str, engine: &str) -> Result<Self> {
        let threads = rayon::current_num_threads().to_string();
        let mut command = Command::new(python);
        command.arg(script("peers.py")).args([engine, &threads]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| python.display().to_string())?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        let mut peer = Self { name, version: String::new(), child, stdin, stdout: BufReader::new(stdout) };
        peer.version = peer.hear()?["version"].as_str().unwrap_or("?").to_owned();
        peer.signal("STOP")?;
        Ok(peer)
    }

    /// Makes the network; `onnx` is its file, for those who read one.
    pub fn load(&mut self, work: &Work, onnx: &Path) -> Result<()> {
        self.ask(&format!("load\t{}\t{}", onnx.display(), work.spec())).map(drop)
    }

    /// One untimed pass, then timed ones for `least`, at least one: milliseconds, the median.
    pub fn turn(&mut self, least: Duration) -> Result<f64> {
        let answer = self.ask(&format!("run\t{}", least.as_secs_f64()))?;
        let times: Vec<f64> = answer["ms"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        if times.is_empty() {
            bail!("{}: it timed nothing", self.name);
        }
        Ok(Spread::of(&times).median)
    }

    /// Wakes the process for one question.
    fn ask(&mut self, question: &str) -> Result<Value> {
        self.signal("CONT")?;
        writeln!(self.stdin, "{question}").with_context(|| self.name)?;
        self.stdin.flush()?;
        let answer = self.hear();
        self.signal("STOP")?;
        answer
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).with_context(|| self.name)?;
        let answer: Value =
            serde_json::from_str(&line).with_context(|| format!("{}: it ended or babbled", self.name))?;
        match answer["error"].as_str() {
            Some(error) => bail!("{}: {error}", self.name),
            None => Ok(answer),
        }
    }

    fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        if !status.success() {
            bail!("{}: its process is gone", self.name);
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
