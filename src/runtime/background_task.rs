//! Background tasks that may hang, such as reading a file on a network share that is gone: one at a time, beside the task
//! that must not hang, and not waited for without end.

use std::time::Duration;

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use maskd_types::files::Place;

/// Work of one kind.
pub(super) struct BackgroundTask<T> {
    /// How long it is waited for.
    limit: Duration,
    now: Option<Work<T>>,
}

struct Work<T> {
    done: JoinHandle<T>,
    place: Place,
    since: Instant,
    /// It was waited for long enough.
    late: bool,
}

/// What work is doing that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// It will be done.
    Working,
    /// It hangs: where and for how long, in words.
    Hanging(String),
}

impl<T: Send + 'static> BackgroundTask<T> {
    /// Nothing is done yet; each piece is waited for as long as `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, now: None }
    }

    /// Begins a piece of work.
    ///
    /// # Errors
    /// The one before is not done.
    pub(super) fn begin(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<(), Busy> {
        match &self.now {
            // One that came back late has nobody left to tell.
            Some(now) if !(now.late && now.done.is_finished()) => return Err(now.busy()),
            _ => {}
        }
        let place = Place::default();
        let here = place.clone();
        let done = spawn_blocking(move || here.follow(work));
        self.now = Some(Work { done, place, since: Instant::now(), late: false });
        Ok(())
    }

    /// What came of the work that was begun: resolves once for each piece, and never while there is none.
    ///
    /// # Errors
    /// It hangs, or it panicked: why, in words. Hanging work is left alone, and no more is begun until it returns.
    pub(super) async fn done(&mut self) -> Result<T, String> {
        let Some(now) = self.now.as_mut().filter(|now| !now.late) else { return std::future::pending().await };
        tokio::select! {
            done = &mut now.done => {
                self.now = None;
                done.map_err(|panic| format!("This is a bug: {panic}"))
            }
            () = sleep_until(now.since + self.limit) => {
                now.late = true;
                Err(now.hangs())
            }
        }
    }
}

impl<T> Work<T> {
    fn busy(&self) -> Busy {
        if self.late { Busy::Hanging(self.hangs()) } else { Busy::Working }
    }

    fn hangs(&self) -> String {
        let seconds = self.since.elapsed().as_secs_f32();
        let place = self.place.now().map_or_else(|| "a file".to_owned(), |path| path.display().to_string());
        format!("{place}: reading it hangs, for {seconds:.1} s now; is it on a share that does not answer?")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use maskd_types::files;

    #[tokio::test]
    async fn hanging_work_is_left_alone_and_keeps_more_from_being_begun() {
        let mut task = BackgroundTask::new(Duration::from_millis(20));
        let (let_go, held) = crossbeam_channel::bounded::<u8>(1);
        let hang = move || {
            let _ = files::check(Path::new("/nowhere/share/maskd.toml"));
            held.recv().unwrap_or_default()
        };
        task.begin(hang).unwrap();
        assert_eq!(task.begin(|| 0), Err(Busy::Working));
        let late = task.done().await.unwrap_err();
        assert!(late.starts_with("/nowhere/share/maskd.toml: reading it hangs, for "), "{late}");
        assert!(matches!(task.begin(|| 0), Err(Busy::Hanging(why)) if why.starts_with("/nowhere/share/maskd.toml: ")));
        // Nothing comes of it any more, also once it returns.
        let_go.send(1).unwrap();
        let begun = loop {
            if task.begin(|| 2).is_ok() {
                break task.done().await;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(begun, Ok(2));
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        let mut task: BackgroundTask<()> = BackgroundTask::new(Duration::from_secs(60));
        task.begin(|| panic!("on purpose")).unwrap();
        assert!(task.done().await.unwrap_err().starts_with("This is a bug: "));
        task.begin(|| ()).unwrap();
        assert_eq!(task.done().await, Ok(()));
    }
}
