//! A stream as it is configured, and as it runs.

use crate::config::{Start, StreamConfig, StreamSettings};
use maskd_ingest::{Description, Numbers};
use maskd_protocol::wire::State;
use maskd_tracking::tracker::TrackerConfig;
use maskd_types::cancellation::CancellationToken;
use maskd_types::mask::FirstMask;

/// A stream as configured, its pipeline, and the mask it is to start from: what was read when it was checked.
pub(super) struct Entry {
    pub(super) config: StreamConfig,
    pub(super) settings: StreamSettings,
    pub(super) description: Description,
    pub(super) first_mask: Option<FirstMask>,
}

/// What becomes of a stream once its camera's thread has ended.
pub(super) enum Then {
    /// Nothing more.
    Stay,
    /// It is gone from the configuration: forgotten as soon as none of its frames is on its way.
    Leave,
    /// It was configured anew.
    Restart(Box<Entry>),
}

impl Entry {
    /// The stream of `config`, with what was read of it; `defaults` are those of `[tracker]`.
    ///
    /// # Errors
    /// Settings that cannot be; none, where the configuration was checked.
    pub(super) fn new(config: StreamConfig, start: Start, defaults: &TrackerConfig) -> anyhow::Result<Self> {
        let settings = config.settings(defaults).map_err(|why| anyhow::anyhow!("tracker: {why}"))?;
        let Start { description, first_mask } = start;
        Ok(Self { config, settings, description, first_mask })
    }
}

/// A stream that runs, or has run: what is known of it.
pub(super) struct Stream {
    pub(super) stop: CancellationToken,
    pub(super) numbers: Numbers,
    pub(super) then: Then,
    /// A file that is played once: a fault ends it, since trying again would play it from its start.
    pub(super) finite: bool,
    pub(super) state: State,
    pub(super) reason: Option<String>,
    /// Why it does not start from its first mask.
    pub(super) maskless: Option<String>,
    pub(super) decoder: Option<String>,
    pub(super) epoch: u32,
    pub(super) gone: bool,
    pub(super) fault: Option<String>,
}

impl Stream {
    /// One whose camera starts now.
    pub(super) fn starting(stop: CancellationToken, numbers: Numbers, finite: bool) -> Self {
        Self {
            stop,
            numbers,
            then: Then::Stay,
            finite,
            state: State::Down,
            reason: Some("starting".to_owned()),
            maskless: None,
            decoder: None,
            epoch: 0,
            gone: false,
            fault: None,
        }
    }

    /// What there is to say of how it does.
    pub(super) fn why(&self) -> Option<String> {
        self.reason.clone().or_else(|| self.maskless.clone())
    }
}
