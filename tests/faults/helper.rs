//! Other processes of the bench, which can be killed or made to stand still: a router, and subscribers of all manners.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use super::support::PATIENCE;

/// Where a process is told what it is.
const ORDER: &str = "MASKD_FAULTS_HELPER";

/// What a process is to be.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// A zenoh router, at this endpoint.
    Router,
    /// Subscribes to all masks, connected to this endpoint, and says of each when its frame was captured.
    Reader,
    /// The same, but takes half a second for each message.
    SlowReader,
}

/// A process. Dropped, it is killed.
pub struct Helper {
    child: Child,
    lines: Receiver<String>,
}

impl Helper {
    /// Starts one, and waits until it is there.
    pub fn start(role: Role, endpoint: &str) -> Self {
        // This very program, which can be a test by its name: no second binary has to be built.
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "helper::process", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(ORDER, format!("{role:?} {endpoint}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = sync_channel(1 << 16);
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || said.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let it = Self { child, lines };
        while !it.line().ends_with("ready") {}
        it
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a helper says nothing")
    }

    /// Waits until it got masks of a frame that was captured after a time (nanoseconds since the Unix epoch).
    pub fn reads_past(&self, time: u64) {
        while self.line().parse::<u64>().unwrap() <= time {}
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(text: &str) -> zenoh::Config {
    zenoh::Config::from_json5(text).unwrap()
}

async fn route(endpoint: &str) {
    let router = format!(
        "{{ mode: 'router', listen: {{ endpoints: ['{endpoint}'] }}, scouting: {{ multicast: {{ enabled: false }} }} }}"
    );
    let _session = zenoh::open(config(&router)).await.unwrap();
    println!("ready");
    std::future::pending::<()>().await;
}

async fn read(endpoint: &str, pause: Duration) {
    let peer = format!(
        "{{ mode: 'peer', listen: {{ endpoints: [] }}, connect: {{ endpoints: ['{endpoint}'] }}, \
         scouting: {{ multicast: {{ enabled: false }} }} }}"
    );
    let session = zenoh::open(config(&peer)).await.unwrap();
    // zenoh's default queue: what does not fit any more waits on the network, and the sender feels it.
    let masks = session.declare_subscriber("maskd/v1/**/masks").await.unwrap();
    println!("ready");
    while let Ok(sample) = masks.recv_async().await {
        let payload = sample.payload().to_bytes();
        let message: maskd::publish::wire::MasksMessage =
            serde_json::from_slice(&payload).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&payload)));
        println!("{}", message.captured_unix_ns);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[test]
#[ignore = "no test: a process that other tests start"]
fn process() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (role, endpoint) = order.split_once(' ').unwrap();
    // Who started it holds the other end: when that is gone, so is this.
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role {
            "Router" => route(endpoint).await,
            "Reader" => read(endpoint, Duration::ZERO).await,
            "SlowReader" => read(endpoint, Duration::from_millis(500)).await,
            other => panic!("no helper is a {other}"),
        }
    });
}
