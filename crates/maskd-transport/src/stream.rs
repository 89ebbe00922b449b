//! One camera's part of the session: its publishers, its queryables, its liveliness token, and its counters.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc::error::TrySendError, watch};
use zenoh::{
    bytes::{Encoding, ZBytes},
    key_expr::KeyExpr,
    liveliness::LivelinessToken,
    pubsub::{Publisher, Subscriber},
    qos::{CongestionControl, Priority},
    query::Queryable,
};
use zenoh_ext::{AdvancedPublisher, AdvancedPublisherBuilderExt, CacheConfig, MissDetectionConfig};

use super::{
    PublishError,
    outgoing::{Outgoing, Shared},
    publisher::{Published, StreamPublisher},
    queries::{Ask, Latest},
    refused,
};
use maskd_protocol::{
    coarsen,
    keys::{self, Topic},
    wire::{self, Event, EventMessage, Format, FrameRef, MasksMessage, Status, StatusMessage, VERSION},
};
use maskd_types::{
    frame::{Frame, StreamId},
    instance::{Instance, TrackEvent},
};

/// Events that a late or interrupted subscriber can still fetch.
const EVENTS_KEPT: usize = 64;

/// Publishes for one stream. Dropped, its keys, queryables and liveliness token are gone.
pub(super) struct ZenohStream {
    shared: Arc<Shared>,
    stream: StreamId,
    masks: Publisher<'static>,
    masks_sent: AtomicU64,
    model: Mutex<Arc<str>>,
    latest_masks: watch::Sender<Option<(Encoding, ZBytes)>>,
    events: Arc<AdvancedPublisher<'static>>,
    events_sent: AtomicU64,
    status: Arc<AdvancedPublisher<'static>>,
    status_sent: AtomicU64,
    latest_status: watch::Sender<Option<(Encoding, ZBytes)>>,
    preview: Publisher<'static>,
    preview_wanted: Arc<AtomicBool>,
    _queryables: [Queryable<()>; 3],
    _prompts: Subscriber<()>,
    _alive: LivelinessToken,
}

impl ZenohStream {
    pub(super) async fn declare(shared: Arc<Shared>, stream: StreamId) -> Result<Self, PublishError> {
        let key = |topic| {
            KeyExpr::try_from(keys::stream_key(&shared.site, &stream, topic)).map_err(refused("a stream's key"))
        };
        let session = &shared.session;
        let encoding = encoding_of(shared.format);

        let masks = session
            .declare_publisher(key(Topic::Masks)?)
            .encoding(encoding.clone())
            .congestion_control(CongestionControl::Drop)
            .priority(Priority::DataHigh)
            .await
            .map_err(refused("the masks publisher"))?;
        let advanced = async |topic, kept| -> Result<_, PublishError> {
            let publisher = session
                .declare_publisher(key(topic)?)
                .encoding(encoding.clone())
                .congestion_control(CongestionControl::Block)
                .cache(CacheConfig::default().max_samples(kept))
                .sample_miss_detection(MissDetectionConfig::default())
                .publisher_detection()
                .await
                .map_err(refused("an events publisher"))?;
            Ok(Arc::new(publisher))
        };
        let events = advanced(Topic::Events, EVENTS_KEPT).await?;
        let status = advanced(Topic::Status, 1).await?;

        let preview = session
            .declare_publisher(key(Topic::Preview)?)
            .encoding(Encoding::IMAGE_JPEG)
            .congestion_control(CongestionControl::Drop)
            .priority(Priority::DataLow)
            .await
            .map_err(refused("the preview publisher"))?;
        let preview_wanted = Arc::new(AtomicBool::new(false));
        let wanted = preview_wanted.clone();
        preview
            .matching_listener()
            .callback(move |status| wanted.store(status.matching(), Relaxed))
            .background()
            .await
            .map_err(refused("the preview's matching listener"))?;
        let matching = preview.matching_status().await.map_err(refused("the preview's matching status"))?;
        preview_wanted.fetch_or(matching.matching(), Relaxed);

        let (latest_masks, masks_slot) = watch::channel(None);
        let (latest_status, status_slot) = watch::channel(None);
        let queryables = [
            answer_with_latest(&shared, key(Topic::Masks)?, masks_slot).await?,
            answer_with_latest(&shared, key(Topic::Status)?, status_slot).await?,
            take_prompt_queries(&shared, key(Topic::Prompt)?, &stream).await?,
        ];
        let prompts = take_prompt_puts(&shared, key(Topic::Prompt)?, &stream).await?;
        // Last: who sees the token finds everything else in place.
        let alive = session
            .liveliness()
            .declare_token(key(Topic::Alive)?)
            .await
            .map_err(refused("a stream's liveliness token"))?;

        Ok(Self {
            masks,
            masks_sent: AtomicU64::new(0),
            model: Mutex::new(shared.model.as_str().into()),
            latest_masks,
            events,
            events_sent: AtomicU64::new(0),
            status,
            status_sent: AtomicU64::new(0),
            latest_status,
            preview,
            preview_wanted,
            _queryables: queryables,
            _prompts: prompts,
            _alive: alive,
            stream,
            shared,
        })
    }

    fn send_event(&self, epoch: u32, frame: Option<FrameRef>, event: Event) -> Result<(), PublishError> {
        let message = EventMessage {
            version: VERSION,
            site: self.shared.site.clone(),
            stream: self.stream.clone(),
            // Numbered even if it cannot be sent: the gap tells.
            sequence: self.events_sent.fetch_add(1, Relaxed),
            epoch,
            published_unix_ns: wire::unix_ns(),
            frame,
            event,
        };
        self.send(&self.events, wire::encode(&message, self.shared.format)?.into())
    }

    fn send(&self, publisher: &Arc<AdvancedPublisher<'static>>, payload: ZBytes) -> Result<(), PublishError> {
        self.shared.outgoing.try_send(Outgoing::Put(publisher.clone(), payload)).map_err(|e| match e {
            TrySendError::Full(_) => PublishError::Busy,
            TrySendError::Closed(_) => {
                PublishError::Transport { what: "events", cause: "the session is closed".to_owned() }
            }
        })
    }
}

#[async_trait]
impl StreamPublisher for ZenohStream {
    /// The masks from now on are those of the weights `id`.
    fn name_model(&self, id: &Arc<str>) {
        *self.model.lock() = id.clone();
    }

    /// Publishes the instances of a frame, coarsened where they would not fit. Counts coarsening; the caller counts
    /// frames. Dropped by zenoh, not waited for, where a subscriber is too slow. One call at a time: messages are
    /// numbered in the order of calls.
    async fn publish_masks(
        &self,
        frame: &Frame,
        discovered: bool,
        instances: Vec<Instance>,
    ) -> Result<Published, PublishError> {
        let shared = &self.shared;
        let number = self.masks_sent.load(Relaxed);
        let model = self.model.lock().clone();
        let message = MasksMessage::new(&shared.site, &model, number, frame, discovered, instances);
        let (message, bytes) = coarsen::fit(message, shared.format, shared.max_message_bytes)?;
        if message.coarsened.is_some() {
            shared.metrics.message_coarsened(&self.stream);
        }
        let published = Published { bytes: bytes.len(), coarsened: message.coarsened, omitted: message.omitted };
        let payload = ZBytes::from(bytes);
        self.masks.put(payload.clone()).await.map_err(refused("masks"))?;
        self.masks_sent.store(number + 1, Relaxed);
        self.latest_masks.send_replace(Some((encoding_of(shared.format), payload)));
        Ok(published)
    }

    /// Publishes something that happened to the stream.
    fn publish_event(&self, epoch: u32, event: Event) -> Result<(), PublishError> {
        self.send_event(epoch, None, event)
    }

    /// Publishes something that happened to an instance in `frame`.
    fn publish_track_event(&self, frame: &Frame, event: TrackEvent) -> Result<(), PublishError> {
        self.send_event(frame.epoch, Some(frame.into()), Event::Instance(event))
    }

    /// Publishes the stream's status: every few seconds and at each change, not with each frame.
    fn publish_status(&self, status: Status) -> Result<(), PublishError> {
        let message = StatusMessage {
            version: VERSION,
            site: self.shared.site.clone(),
            stream: self.stream.clone(),
            sequence: self.status_sent.fetch_add(1, Relaxed),
            published_unix_ns: wire::unix_ns(),
            status,
        };
        let payload = ZBytes::from(wire::encode(&message, self.shared.format)?);
        self.latest_status.send_replace(Some((encoding_of(self.shared.format), payload.clone())));
        self.send(&self.status, payload)
    }

    /// Whether somebody subscribes to the preview: ask before encoding one.
    fn wants_preview(&self) -> bool {
        self.preview_wanted.load(Relaxed)
    }

    /// Publishes a preview picture.
    async fn publish_preview(&self, jpeg: Vec<u8>) -> Result<(), PublishError> {
        self.preview.put(jpeg).await.map_err(refused("preview"))
    }
}

fn encoding_of(format: Format) -> Encoding {
    match format {
        Format::Json => Encoding::APPLICATION_JSON,
        Format::Cbor => Encoding::APPLICATION_CBOR,
    }
}

async fn answer_with_latest(
    shared: &Shared,
    key: KeyExpr<'static>,
    latest: Latest,
) -> Result<Queryable<()>, PublishError> {
    let queries = shared.asks.clone();
    let own = key.clone();
    shared
        .session
        .declare_queryable(key)
        .complete(true)
        // A full queue of queries answers nothing: the asker sees an empty reply.
        .callback(move |query| drop(queries.try_send(Ask::Latest(own.clone(), query, latest.clone()))))
        .await
        .map_err(refused("a queryable"))
}

async fn take_prompt_queries(
    shared: &Shared,
    key: KeyExpr<'static>,
    stream: &StreamId,
) -> Result<Queryable<()>, PublishError> {
    let (queries, stream, metrics) = (shared.asks.clone(), stream.clone(), shared.metrics.clone());
    let callback = move |query| {
        if queries.try_send(Ask::Prompt(stream.clone(), query)).is_err() {
            metrics.prompt(&stream, "busy");
        }
    };
    shared.session.declare_queryable(key).callback(callback).await.map_err(refused("the prompt queryable"))
}

async fn take_prompt_puts(
    shared: &Shared,
    key: KeyExpr<'static>,
    stream: &StreamId,
) -> Result<Subscriber<()>, PublishError> {
    let (queries, stream, metrics) = (shared.asks.clone(), stream.clone(), shared.metrics.clone());
    let callback = move |sample| {
        if queries.try_send(Ask::Put(stream.clone(), sample)).is_err() {
            metrics.prompt(&stream, "busy");
        }
    };
    shared.session.declare_subscriber(key).callback(callback).await.map_err(refused("the prompt subscriber"))
}
