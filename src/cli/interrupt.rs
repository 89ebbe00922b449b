//! Ctrl-C and SIGTERM for commands that have something to finish: the first asks, the second ends the process.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::emulate_default_handler,
};

/// Which of them came, if any.
pub(super) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Takes the first of either signal over from the system, which would end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn install() -> io::Result<Self> {
        let (came, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            flag::register_usize(signal, Arc::clone(&came), usize::try_from(signal).unwrap_or_default())?;
        }
        Ok(Self(came))
    }

    /// Whether one came.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// If one came, ends the process as it would have done; what started the command is to know.
    pub(super) fn obey(&self) {
        if let Ok(signal @ 1..) = i32::try_from(self.0.load(Ordering::Relaxed)) {
            let _ = emulate_default_handler(signal);
        }
    }
}
