//! Threads that make samples, and one that puts them together in order.
//!
//! ```text
//! assembler -> jobs (bounded) -> workers -> done (bounded) -> assembler -> ready (bounded, 1) -> Loader
//! ```
//!
//! Only as many jobs are open as both queues hold, so no worker ever waits to hand over its work and none can be
//! stuck when the loader goes.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    batch::Batch,
    order::{Draw, Order},
};
use crate::augment::Picture;

/// Makes the crops of one sample.
pub(super) type Make = Box<dyn FnMut(Draw) -> Result<Vec<Picture>> + Send>;

/// The threads; dropped, they end.
pub(super) struct Workers {
    ready: Option<Receiver<Result<Batch>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Job {
    batch: u64,
    slot: usize,
    draw: Draw,
}

struct Done {
    batch: u64,
    slot: usize,
    crops: Result<Vec<Picture>>,
}

impl Workers {
    /// Starts a thread for each of `makers`, which are alike, from batch `start` on.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(makers: Vec<Make>, order: Order, prefetch: usize, start: u64) -> Result<Self> {
        let open = prefetch * order.batch_size();
        let (jobs, todo) = bounded(open);
        let (finished, done) = bounded(open);
        let (sender, ready) = bounded(1);
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Self { ready: Some(ready), stop: Arc::clone(&stop), threads: Vec::new() };
        for (number, maker) in makers.into_iter().enumerate() {
            let (todo, finished, stop) = (todo.clone(), finished.clone(), Arc::clone(&stop));
            workers.spawn(format!("data-{number}"), move || work(maker, &todo, &finished, &stop))?;
        }
        let assembler = Assembler { order, jobs, done, waiting: BTreeMap::new() };
        workers.spawn("data-order".to_owned(), move || assembler.run(prefetch as u64, start, &sender))?;
        Ok(workers)
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name).spawn(run).context("cannot start a thread for data")?;
        self.threads.push(thread);
        Ok(())
    }

    /// The next batch, waited for. After an error there is nothing more.
    pub(super) fn next(&self) -> Result<Batch> {
        let over = "the data threads have ended, after an error that was reported before";
        self.ready.as_ref().and_then(|ready| ready.recv().ok()).context(over)?
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The assembler sees that nobody takes its batches and goes, then the workers have no more jobs.
        self.ready = None;
        for thread in self.threads.drain(..) {
            // A panic was caught and handed on where it happened.
            let _ = thread.join();
        }
    }
}

fn work(mut make: Make, todo: &Receiver<Job>, finished: &Sender<Done>, stop: &AtomicBool) {
    for Job { batch, slot, draw } in todo {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let crops = catch_unwind(AssertUnwindSafe(|| make(draw))).unwrap_or_else(|panic| {
            let said = maskd_types::panic::message(&*panic);
            Err(anyhow!("This is a bug: a data thread panicked on sample {}: {said}", draw.sample))
        });
        if finished.send(Done { batch, slot, crops }).is_err() {
            return;
        }
    }
}

struct Assembler {
    order: Order,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// Batches some samples of which are made.
    waiting: BTreeMap<u64, Vec<Option<Vec<Picture>>>>,
}

impl Assembler {
    fn run(mut self, prefetch: u64, start: u64, ready: &Sender<Result<Batch>>) {
        for batch in start..start.saturating_add(prefetch) {
            if self.hand_out(batch).is_none() {
                return;
            }
        }
        for batch in start.. {
            let made = self.collect(batch).map(|crops| Batch::of(&crops));
            let failed = made.is_err();
            // None takes it: the loader is gone.
            if ready.send(made).is_err() || failed || self.hand_out(batch.saturating_add(prefetch)).is_none() {
                return;
            }
        }
    }

    /// None if all workers are gone.
    fn hand_out(&mut self, batch: u64) -> Option<()> {
        let draws = self.order.draws(batch);
        self.waiting.insert(batch, draws.iter().map(|_| None).collect());
        draws.into_iter().enumerate().try_for_each(|(slot, draw)| self.jobs.send(Job { batch, slot, draw }).ok())
    }

    /// Waits until every sample of `batch` is made.
    fn collect(&mut self, batch: u64) -> Result<Vec<Vec<Picture>>> {
        loop {
            if self.waiting.get(&batch).is_some_and(|slots| slots.iter().all(Option::is_some)) {
                return Ok(self.waiting.remove(&batch).into_iter().flatten().flatten().collect());
            }
            let Done { batch, slot, crops } = self.done.recv().context("This is a bug: all data threads ended")?;
            let place = self.waiting.get_mut(&batch).and_then(|slots| slots.get_mut(slot));
            *place.context("This is a bug: a sample nobody asked for")? = Some(crops?);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn sample() -> Result<Vec<Picture>> {
        Ok(vec![Picture::new(1, 1, vec![0; 3])?])
    }

    #[test]
    fn a_panic_is_an_error_and_not_a_wait() {
        let make =
            || Box::new(|draw: Draw| if draw.sample == 3 { panic!("on {}", draw.sample) } else { sample() }) as Make;
        let workers = Workers::start(vec![make(), make()], Order::new(0, 4, 4), 2, 0).unwrap();
        let error = workers.next().unwrap_err().to_string();
        assert!(error.contains("panicked on sample 3: on 3"), "{error}");
        assert!(workers.next().unwrap_err().to_string().contains("ended"));
    }

    #[test]
    fn dropping_leaves_the_queued_work_undone() {
        let made = Arc::new(AtomicUsize::new(0));
        let (permits, permit) = bounded::<()>(0);
        let make = || {
            let (made, permit) = (Arc::clone(&made), permit.clone());
            Box::new(move |_| {
                let _ = permit.recv();
                made.fetch_add(1, Ordering::Relaxed);
                sample()
            }) as Make
        };
        // 4096 samples are queued; each is made only when permitted.
        let workers = Workers::start(vec![make(), make()], Order::new(0, 64, 64), 64, 0).unwrap();
        let (begin, begun) = bounded(0);
        let dropping = std::thread::spawn(move || {
            begin.send(()).unwrap();
            drop(workers);
        });
        begun.recv().unwrap();
        while !dropping.is_finished() {
            let _ = permits.try_send(());
        }
        assert!(made.load(Ordering::Relaxed) < 4096, "all that was queued was made");
    }
}
