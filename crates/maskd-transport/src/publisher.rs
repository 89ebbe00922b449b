//! What leaves the daemon: masks, events, status and previews. zenoh is one way out ([`crate::ZenohPublisher`]); another is
//! one implementation of these two traits, and several may run at once ([`crate::Publishers`]).

use std::sync::Arc;

use async_trait::async_trait;
use maskd_protocol::{
    PublishError,
    wire::{Event, Status},
};
use maskd_types::{
    frame::{Frame, StreamId},
    instance::{Instance, TrackEvent},
};

/// What a publisher can do beside sending masks, events and status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It can show previews, and knows whether somebody wants one.
    pub previews: bool,
    /// It answers those who ask for the newest masks, the status and the configuration.
    pub queries: bool,
    /// It passes prompts on ([`crate::Requests`]).
    pub prompts: bool,
}

/// A daemon's way out.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// What logs and errors call it.
    fn name(&self) -> &str;

    /// What it can do beside that.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Tells the daemon's configuration as it is from now on: text without secrets, for those who ask.
    fn tell_config(&self, _resolved: &str) {}

    /// Opens one stream's part; dropping what is returned ends it.
    ///
    /// # Errors
    /// What keeps it from being opened: the stream is not started then.
    async fn stream(&self, stream: StreamId) -> Result<Box<dyn StreamPublisher>, PublishError>;

    /// Delivers what waits, within a few seconds, and ends. The streams are dropped by then.
    async fn close(self: Box<Self>) {}
}

/// One stream's way out. Calls for masks come one at a time, in the order of frames.
#[async_trait]
pub trait StreamPublisher: Send + Sync {
    /// Tells the id of the weights that the masks from now on are made with.
    fn name_model(&self, _id: &Arc<str>) {}

    /// Publishes the instances of `frame`. `discovered`: discovery ran on it. Must not wait for a slow subscriber: frames
    /// behind it are dropped meanwhile.
    ///
    /// # Errors
    /// The frame is lost for the subscribers, and counted as such.
    async fn publish_masks(
        &self,
        frame: &Frame,
        discovered: bool,
        instances: Vec<Instance>,
    ) -> Result<Published, PublishError>;

    /// Publishes something that happened to the stream.
    ///
    /// # Errors
    /// The event is lost.
    fn publish_event(&self, epoch: u32, event: Event) -> Result<(), PublishError>;

    /// Publishes something that happened to an instance in `frame`.
    ///
    /// # Errors
    /// The event is lost.
    fn publish_track_event(&self, frame: &Frame, event: TrackEvent) -> Result<(), PublishError>;

    /// Publishes the stream's status: every few seconds and at each change, not with each frame.
    ///
    /// # Errors
    /// The message is lost.
    fn publish_status(&self, status: Status) -> Result<(), PublishError>;

    /// Whether somebody wants a preview: none is drawn otherwise.
    fn wants_preview(&self) -> bool {
        false
    }

    /// Publishes a preview, a JPEG.
    ///
    /// # Errors
    /// The picture is lost.
    async fn publish_preview(&self, _jpeg: Vec<u8>) -> Result<(), PublishError> {
        Ok(())
    }
}

/// How a masks message went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Bytes of the message.
    pub bytes: usize,
    /// The block size that masks were simplified to, if they had to be.
    pub coarsened: Option<u32>,
    /// Instances left out because even that was not enough.
    pub omitted: u32,
}
