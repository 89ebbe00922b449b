//! Every metric the daemon exports, one documented function each. A handle is cheap to clone.

mod frame_accounts;
mod process;

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

pub use frame_accounts::{DROPS, FrameAccount};

pub use maskd_types::stage::Stage;

use frame_accounts::FrameAccounts;
use maskd_types::frame::{Quality, StreamId};

/// Why a frame was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub enum DropCause {
    /// A newer frame of the same stream arrived before the engine was free.
    Superseded,
    /// The cameras outrun the engine: it was above its stream's rate, and let go before it could wait for anything.
    Paced,
    /// The frame could not be read (wrong size, short buffer).
    Unreadable,
    /// The engine failed on it.
    EngineFailed,
    /// The publisher had too much waiting.
    PublisherBusy,
    /// The message could not be encoded within the size limit, or zenoh refused it.
    PublishFailed,
    /// The daemon was stopping.
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    stream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    stream: String,
    stage: StageLabel,
    cause: DropCause,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: StageLabel,
}

/// A stage's name as the value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StageLabel(Stage);

impl EncodeLabelValue for StageLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        write!(encoder, "{:?}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct CauseLabels {
    stream: String,
    cause: String,
}

/// The daemon's metrics. One per process part under test: nothing here is global.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    accounts: FrameAccounts,
    latency: Family<StageLabels, Histogram>,
    fps: Family<StreamLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    instances: Family<StreamLabels, Gauge>,
    up: Family<StreamLabels, Gauge>,
    hanging: Family<StreamLabels, Gauge>,
    reconnects: Family<CauseLabels, Counter>,
    discoveries: Family<StreamLabels, Counter>,
    coarsened: Family<StreamLabels, Counter>,
    level: Family<StreamLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    rate_limit: Family<StreamLabels, Gauge<f64, std::sync::atomic::AtomicU64>>,
    load: Gauge<f64, std::sync::atomic::AtomicU64>,
    prompts: Family<CauseLabels, Counter>,
    /// The labels in use in `reconnects` and `prompts`, which cannot be asked for them.
    causes: Mutex<BTreeSet<CauseLabels>>,
}

impl Families {
    /// Labels of one stream and one word; remembered.
    fn cause(&self, stream: &StreamId, word: &str) -> CauseLabels {
        let labels = CauseLabels { stream: stream.to_string(), cause: word.to_owned() };
        self.causes.lock().insert(labels.clone());
        labels
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// 1 ms to about 65 s: a CPU box takes seconds for a large frame.
fn stage_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

fn of(stream: &StreamId) -> StreamLabels {
    StreamLabels { stream: stream.to_string() }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut all = Registry::default();
        all.register_collector(Box::new(process::Process));
        let registry = all.sub_registry_with_prefix("maskd");
        let latency = Family::new_with_constructor(stage_histogram as fn() -> Histogram);
        let mut f = Families {
            registry: Registry::default(),
            accounts: FrameAccounts::default(),
            latency,
            fps: Family::default(),
            instances: Family::default(),
            up: Family::default(),
            hanging: Family::default(),
            reconnects: Family::default(),
            discoveries: Family::default(),
            coarsened: Family::default(),
            level: Family::default(),
            rate_limit: Family::default(),
            load: Gauge::default(),
            prompts: Family::default(),
            causes: Mutex::default(),
        };
        registry.register_collector(Box::new(f.accounts.clone()));
        registry.register_with_unit(
            "stage_latency",
            "Time a frame spends in a stage",
            Unit::Seconds,
            f.latency.clone(),
        );
        registry.register("stream_fps", "Published frames a second, over the last seconds", f.fps.clone());
        registry.register("instances", "Instances visible in the newest frame", f.instances.clone());
        registry.register("stream_up", "1 while frames arrive", f.up.clone());
        registry.register("hanging_calls", "Calls into GStreamer left behind and not returned", f.hanging.clone());
        registry.register("reconnects", "Pipelines rebuilt, by cause", f.reconnects.clone());
        registry.register("discoveries", "Frames on which instances were searched for", f.discoveries.clone());
        registry.register("messages_coarsened", "Mask messages simplified to fit the size limit", f.coarsened.clone());
        registry.register(
            "stream_level",
            "The network's resolution, as a share of the configured one",
            f.level.clone(),
        );
        registry.register(
            "stream_rate_limit",
            "Frames a second that a stream is held to; absent where it is not held back",
            f.rate_limit.clone(),
        );
        registry.register(
            "engine_load",
            "Share of the engine's time that all arriving frames would take; above 1 the cameras outrun it",
            f.load.clone(),
        );
        registry.register("prompts", "Prompts received, by outcome", f.prompts.clone());
        f.registry = all;
        Self(Arc::new(f))
    }

    /// A frame left the decoder of `stream`: it is in flight.
    pub fn frame_captured(&self, stream: &StreamId) {
        self.0.accounts.captured(stream);
    }

    /// A frame's masks were handed to zenoh.
    pub fn frame_published(&self, stream: &StreamId) {
        self.0.accounts.published(stream);
    }

    /// A frame of `stream` ended at `stage` for `cause`, one of [`DROPS`].
    pub fn frame_dropped(&self, stream: &StreamId, stage: Stage, cause: DropCause) {
        self.0.accounts.dropped(stream, stage, cause);
    }

    /// Where the frames of `stream` are, as of one moment. Asking opens its account, which makes its counters known at 0.
    pub fn account(&self, stream: &StreamId) -> FrameAccount {
        self.0.accounts.account(stream)
    }

    /// Drops what is still in flight of `stream`, for stopping; says how many frames those were.
    pub fn abandon(&self, stream: &StreamId) -> u64 {
        self.0.accounts.abandon(stream)
    }

    /// `stream` is no more: nothing of it is exported any longer.
    pub fn forget(&self, stream: &StreamId) {
        let families = &self.0;
        families.accounts.forget(stream);
        families.fps.remove(&of(stream));
        families.instances.remove(&of(stream));
        families.up.remove(&of(stream));
        families.hanging.remove(&of(stream));
        families.discoveries.remove(&of(stream));
        families.coarsened.remove(&of(stream));
        families.level.remove(&of(stream));
        families.rate_limit.remove(&of(stream));
        let mut seen = families.causes.lock();
        seen.retain(|labels| {
            let gone = labels.stream == stream.as_str();
            if gone {
                families.reconnects.remove(labels);
                families.prompts.remove(labels);
            }
            !gone
        });
    }

    /// A frame spent `time` in `stage`.
    pub fn stage_took(&self, stage: Stage, time: Duration) {
        self.0.latency.get_or_create(&StageLabels { stage: StageLabel(stage) }).observe(time.as_secs_f64());
    }

    /// `stream` publishes `fps` frames a second.
    pub fn stream_fps(&self, stream: &StreamId, fps: f64) {
        self.0.fps.get_or_create(&of(stream)).set(fps);
    }

    /// `count` instances are visible in `stream`'s newest frame.
    pub fn instances(&self, stream: &StreamId, count: usize) {
        self.0.instances.get_or_create(&of(stream)).set(count as i64);
    }

    /// `stream` delivers frames (true) or is being rebuilt (false).
    pub fn stream_up(&self, stream: &StreamId, up: bool) {
        self.0.up.get_or_create(&of(stream)).set(i64::from(up));
    }

    /// A call of `stream` into GStreamer was left behind (`hangs`), or has returned after all.
    pub fn call_hangs(&self, stream: &StreamId, hangs: bool) {
        if hangs {
            self.0.hanging.get_or_create(&of(stream)).inc();
        } else if let Some(gauge) = self.0.hanging.get(&of(stream)) {
            // A stream that is gone is not taken up again.
            gauge.dec();
        }
    }

    /// `stream`'s pipeline is torn down and rebuilt because of `cause` (a short fixed word).
    pub fn reconnected(&self, stream: &StreamId, cause: &str) {
        self.0.reconnects.get_or_create(&self.0.cause(stream, cause)).inc();
    }

    /// Discovery ran on a frame of `stream`.
    pub fn discovered(&self, stream: &StreamId) {
        self.0.discoveries.get_or_create(&of(stream)).inc();
    }

    /// A mask message of `stream` was simplified to fit the size limit.
    pub fn message_coarsened(&self, stream: &StreamId) {
        self.0.coarsened.get_or_create(&of(stream)).inc();
    }

    /// From now on `stream` is seen with this quality.
    pub fn quality(&self, stream: &StreamId, quality: Quality) {
        self.0.level.get_or_create(&of(stream)).set(quality.level);
        match quality.rate {
            Some(rate) => drop(self.0.rate_limit.get_or_create(&of(stream)).set(rate)),
            None => drop(self.0.rate_limit.remove(&of(stream))),
        }
    }

    /// Everything that arrives would take `load` of the engine's time.
    pub fn engine_load(&self, load: f64) {
        self.0.load.set(load);
    }

    /// A prompt for `stream` ended in `outcome` (a short fixed word: accepted, refused).
    pub fn prompt(&self, stream: &StreamId, outcome: &str) {
        self.0.prompts.get_or_create(&self.0.cause(stream, outcome)).inc();
    }

    /// The OpenMetrics text of everything.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.0.registry).is_err() {
            // Writing to a String cannot fail; a wrong metric would be ours.
            let _ = write!(text, "# This is a bug: a metric could not be encoded\n# EOF\n");
        }
        text
    }
}
