//! What the engine thread is told by others.

use tokio::sync::mpsc;

use crate::config::StreamSettings;
use maskd_model::backbone::Backbone;
use maskd_types::{
    frame::{Frame, StreamId},
    mask::FirstMask,
};

/// What the thread is told about streams, before their frames come or after the last one came.
pub(super) enum EngineCommand {
    /// Serve a stream by its settings, with the first mask that it is configured with. One that is served already keeps its
    /// memory, and starts from another mask only.
    Serve { stream: StreamId, settings: Box<StreamSettings>, first_mask: Option<FirstMask> },
    /// Serve a stream by other settings.
    Configure { stream: StreamId, settings: Box<StreamSettings> },
    /// Forget a stream and what it held.
    Forget(StreamId),
    /// Send copies of the next batch's frames.
    SampleFrames(crossbeam_channel::Sender<Vec<Frame>>),
    /// Go on with another network.
    SwapModel(Box<Backbone>),
}

/// Commands that may wait: more than a configuration has streams. The engine looks for them several times a second.
pub(super) const WAITING_COMMANDS: usize = 4096;

/// Where commands are put.
pub(super) type CommandSender = mpsc::Sender<EngineCommand>;
