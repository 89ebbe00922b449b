//! The service manager's end of the notify socket, and threads of a daemon that do not run any more.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
};

use super::PATIENCE;

/// Hears what a daemon tells its service manager.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// Listens in `folder`.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The environment of a daemon that is to ping more often than every `watchdog_us` microseconds.
    pub fn env<'a>(&'a self, watchdog_us: &'a str) -> [(&'a str, &'a str); 2] {
        [("NOTIFY_SOCKET", self.path.to_str().unwrap()), ("WATCHDOG_USEC", watchdog_us)]
    }

    /// Waits for a message with a line for which `wanted` holds, and returns the message.
    pub fn hear(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut heard = Vec::new();
        loop {
            let text = self.next().unwrap_or_else(|e| panic!("no {what}: {e}; heard {heard:?}"));
            if text.lines().any(&wanted) {
                return text;
            }
            heard.push(text);
        }
    }

    /// Waits until the daemon says that it is stuck, then for `looks` more such words: none may come with a ping.
    pub fn hear_stuck(&self, stage: &str, looks: usize) {
        let stuck = |line: &str| line.starts_with("STATUS=stuck: ") && line.contains(stage);
        self.hear(stage, stuck);
        let mut told = 0;
        while told < looks {
            let text = self.next().unwrap();
            assert!(!text.contains("WATCHDOG=1"), "still pinged: {text}");
            told += usize::from(text.lines().any(stuck));
        }
    }

    fn next(&self) -> std::io::Result<String> {
        let mut bytes = [0; 4096];
        let n = self.socket.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..n]).into_owned())
    }
}

/// Stops every thread called `name` of the child process `pid`, and nothing else of it, as a deadlock would: the kernel's
/// tracing can. They run again when the calling thread ends. False where this machine does not let us.
pub fn freeze_threads(pid: u32, name: &str) -> Option<Frozen> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let named = |task: &Path| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    let tasks: Vec<PathBuf> = tasks.map(|task| task.unwrap().path()).filter(|task| named(task)).collect();
    assert!(!tasks.is_empty(), "no thread {name}");
    let tids = tasks.iter().map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap()).collect();
    let frozen = Frozen { pid: pid.try_into().unwrap(), tids };
    let all = frozen.tids.iter().all(|&tid| {
        let ask = |request| {
            // SAFETY: these requests take no pointer; a thread that is not ours is refused.
            unsafe {
                libc::ptrace(request, tid, std::ptr::null_mut::<libc::c_void>(), std::ptr::null_mut::<libc::c_void>())
            }
        };
        ask(libc::PTRACE_SEIZE) == 0 && ask(libc::PTRACE_INTERRUPT) == 0
    });
    all.then_some(frozen)
}

/// Threads that are held. Dropped, their process is killed, and they are let go: nobody could wait for its end before.
pub struct Frozen {
    pid: libc::pid_t,
    tids: Vec<libc::pid_t>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: a signal to a child of ours, and its threads' ends; no pointers but to a number of our own.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            for &tid in &self.tids {
                let mut status = 0;
                while libc::waitpid(tid, &mut status, libc::__WALL) > 0 && libc::WIFSTOPPED(status) {}
            }
        }
    }
}

/// A named pipe: opening it to read waits for somebody who writes.
pub fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
