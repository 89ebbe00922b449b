//! Writes the log without ever blocking: a thread writes the lines to standard error, so that nobody who logs waits for a
//! terminal, a pipe or a collector that has stopped reading, or fails with a disk that is full.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Lines that may wait; those above are lost, and counted.
const WAITING_LINES: usize = 1024;

/// How long the end of the program waits for the last lines.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

enum Word {
    Line(Vec<u8>),
    /// Everything before this is out once it is dropped.
    Flush(Sender<()>),
}

/// Where lines are put, whole, one a `write`. Never waits and never fails. Cheap to clone.
#[derive(Clone)]
pub struct LogWriter {
    words: Sender<Word>,
    lost: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread, which writes to `out`, and says by `told` how many lines were lost as soon as others are
    /// written again.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(out: impl Write + Send + 'static, told: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let (words, heard) = bounded(WAITING_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let missing = lost.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&heard, &missing, out, told))?;
        Ok(Self { words, lost })
    }

    /// Waits a little until what has been logged so far is out. A reader that has not taken it by then is not
    /// waited for any longer.
    pub fn flush(&self) {
        let deadline = Instant::now() + FLUSH_WITHIN;
        let (done, flushed) = bounded(0);
        if self.words.send_deadline(Word::Flush(done), deadline).is_ok() {
            let _ = flushed.recv_deadline(deadline);
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.words.try_send(Word::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(words: &Receiver<Word>, lost: &AtomicU64, mut out: impl Write, told: impl Fn(u64)) {
    for word in words {
        let line = match word {
            Word::Line(line) => line,
            Word::Flush(done) => {
                drop(done);
                continue;
            }
        };
        // A write that fails now (a full disk) may succeed later.
        match out.write_all(&line).and_then(|()| out.flush()) {
            Err(_) => {
                lost.fetch_add(1, Relaxed);
            }
            Ok(()) => match lost.swap(0, Relaxed) {
                0 => {}
                lines => told(lines),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes as many lines as it is told to, then none: its disk is full.
    struct Gate {
        open: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
            self.taken.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_stopped_holds_nobody_up_and_the_loss_is_told() {
        let (open, opened) = bounded(2 * WAITING_LINES);
        let (taken, told) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let sum = told.clone();
        let gate = Gate { open: opened, taken: taken.clone() };
        let told_so = move |lines| {
            sum.fetch_add(lines, Relaxed);
        };
        let mut writer = LogWriter::start(gate, told_so).unwrap();
        for i in 0..2 * WAITING_LINES {
            writer.write_all(format!("{i}\n").as_bytes()).unwrap();
        }
        (0..2 * WAITING_LINES).for_each(|_| open.send(()).unwrap());
        writer.flush();
        let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("0\n"), "{text}");
        let told = told.load(Relaxed) as usize;
        assert!(told > 0 && text.lines().count() + told == 2 * WAITING_LINES, "{told}");
    }

    #[test]
    fn a_full_disk_harms_nobody() {
        let (open, opened) = bounded(0);
        drop(open);
        let mut writer = LogWriter::start(Gate { open: opened, taken: Arc::default() }, |_| ()).unwrap();
        (0..3).for_each(|_| writer.write_all(b"x\n").unwrap());
        writer.flush();
        assert_eq!(writer.lost.load(Relaxed), 3);
    }
}
