//! Several publishers behind one: each gets everything, in the order in which they were added.

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

use super::publisher::{Capabilities, Published, Publisher, StreamPublisher};

/// Publishers that run side by side. What one of them fails to send, the others still get; the call fails then, so that a
/// frame counts as published only where every publisher took it.
#[derive(Default)]
pub struct Publishers(Vec<Box<dyn Publisher>>);

impl Publishers {
    /// Adds one; it gets what is published from now on, in streams that are opened from now on.
    pub fn add(&mut self, publisher: Box<dyn Publisher>) {
        self.0.push(publisher);
    }
}

#[async_trait]
impl Publisher for Publishers {
    fn name(&self) -> &str {
        match &self.0[..] {
            [one] => one.name(),
            _ => "several publishers",
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.0.iter().map(|one| one.capabilities()).fold(Capabilities::default(), |all, one| Capabilities {
            previews: all.previews || one.previews,
            queries: all.queries || one.queries,
            prompts: all.prompts || one.prompts,
        })
    }

    fn tell_config(&self, resolved: &str) {
        self.0.iter().for_each(|one| one.tell_config(resolved));
    }

    async fn stream(&self, stream: StreamId) -> Result<Box<dyn StreamPublisher>, PublishError> {
        let mut streams = Streams(Vec::with_capacity(self.0.len()));
        for one in &self.0 {
            streams.0.push(one.stream(stream.clone()).await?);
        }
        // With a single publisher nothing is copied.
        match streams.0.len() {
            1 => Ok(streams.0.remove(0)),
            _ => Ok(Box::new(streams)),
        }
    }

    async fn close(self: Box<Self>) {
        for one in self.0 {
            one.close().await;
        }
    }
}

/// One stream of each publisher.
struct Streams(Vec<Box<dyn StreamPublisher>>);

impl Streams {
    /// Has every publisher send; the first error is the call's.
    fn each(&self, send: impl Fn(&dyn StreamPublisher) -> Result<(), PublishError>) -> Result<(), PublishError> {
        self.0.iter().map(|one| send(one.as_ref())).fold(Ok(()), Result::and)
    }
}

#[async_trait]
impl StreamPublisher for Streams {
    fn name_model(&self, id: &Arc<str>) {
        self.0.iter().for_each(|one| one.name_model(id));
    }

    /// Says of all messages together: their bytes, the coarsest masks, the most instances left out.
    async fn publish_masks(
        &self,
        frame: &Frame,
        discovered: bool,
        instances: Vec<Instance>,
    ) -> Result<Published, PublishError> {
        let mut all = Ok(Published::default());
        for one in &self.0 {
            let sent = one.publish_masks(frame, discovered, instances.clone()).await;
            all = all.and_then(|all: Published| {
                sent.map(|sent| Published {
                    bytes: all.bytes + sent.bytes,
                    coarsened: all.coarsened.max(sent.coarsened),
                    omitted: all.omitted.max(sent.omitted),
                })
            });
        }
        all
    }

    fn publish_event(&self, epoch: u32, event: Event) -> Result<(), PublishError> {
        self.each(|one| one.publish_event(epoch, event.clone()))
    }

    fn publish_track_event(&self, frame: &Frame, event: TrackEvent) -> Result<(), PublishError> {
        self.each(|one| one.publish_track_event(frame, event.clone()))
    }

    fn publish_status(&self, status: Status) -> Result<(), PublishError> {
        self.each(|one| one.publish_status(status.clone()))
    }

    fn wants_preview(&self) -> bool {
        self.0.iter().any(|one| one.wants_preview())
    }

    async fn publish_preview(&self, jpeg: Vec<u8>) -> Result<(), PublishError> {
        let mut all = Ok(());
        for one in self.0.iter().filter(|one| one.wants_preview()) {
            all = all.and(one.publish_preview(jpeg.clone()).await);
        }
        all
    }
}
