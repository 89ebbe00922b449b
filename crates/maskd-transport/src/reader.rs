//! The other end: reads what daemons publish. `maskd watch` and the tests use it.

use std::path::Path;

use zenoh::{
    Session,
    handlers::{RingChannel, RingChannelHandler},
    pubsub::Subscriber,
    sample::{Sample, SampleKind},
};
use zenoh_ext::{AdvancedSubscriber, AdvancedSubscriberBuilderExt, HistoryConfig, RecoveryConfig};

use super::{
    PublishError, cause,
    config::{reader_config, shown},
    queries::format_of,
    refused,
};
use maskd_protocol::{
    keys::{self, Site, Topic},
    wire::{self, EventMessage, Format, MAX_MESSAGE_BYTES, MasksMessage, StatusMessage, WireError},
};
use maskd_types::frame::StreamId;

/// Messages kept while the reader is busy; the oldest give way, so that a slow reader never reads the past.
const KEPT: usize = 64;

/// The same of pictures.
const PICTURES: usize = 8;

/// Something that a daemon said.
#[derive(Clone, Debug)]
pub enum Received {
    /// The instances of a frame.
    Masks {
        /// The message.
        message: MasksMessage,
        /// Its bytes as received.
        raw: Vec<u8>,
        /// How `raw` is written.
        format: Format,
        /// When it was taken from the network's queue.
        received_unix_ns: u64,
    },
    /// Something happened.
    Event(EventMessage),
    /// How a stream does.
    Status(StatusMessage),
    /// A daemon (`stream` = `None`) or one of its streams came (`alive`) or went.
    Alive {
        /// The liveliness key.
        key: String,
        /// Which stream, where it is one.
        stream: Option<(Site, StreamId)>,
        /// Came or went.
        alive: bool,
    },
    /// A stream's picture with its masks, after [`Reader::look`].
    Preview {
        /// The daemon's site.
        site: Site,
        /// The camera.
        stream: StreamId,
        /// The picture, unchecked.
        jpeg: Vec<u8>,
    },
    /// A message that this version cannot read.
    Unreadable {
        /// Where it was published.
        key: String,
        /// Why.
        cause: WireError,
    },
}

type Ring = RingChannelHandler<Sample>;

/// Subscribes to masks, events, status and liveliness of one or all sites and streams.
pub struct Reader {
    session: Session,
    masks: Subscriber<Ring>,
    events: AdvancedSubscriber<Ring>,
    status: AdvancedSubscriber<Ring>,
    alive: Subscriber<Ring>,
    previews: Option<Subscriber<Ring>>,
}

impl Reader {
    /// Connects to `connect` (and keeps trying where nobody is there yet) and subscribes. `base` is a zenoh
    /// configuration file for TLS, as in `PublishConfig::zenoh_config`. Needs tokio's multi-thread runtime.
    pub async fn open(
        connect: &[String],
        base: Option<&Path>,
        site: Option<&Site>,
        stream: Option<&StreamId>,
    ) -> Result<Self, PublishError> {
        let session = connect_to(connect, base).await?;
        let selector = |topic| keys::stream_selector(site, stream, topic);
        let masks = session
            .declare_subscriber(selector(Topic::Masks))
            .with(RingChannel::new(KEPT))
            .await
            .map_err(refused("subscription to masks"))?;
        let advanced = async |topic| {
            session
                .declare_subscriber(selector(topic))
                .with(RingChannel::new(KEPT))
                .history(HistoryConfig::default().detect_late_publishers().max_samples(1))
                .recovery(RecoveryConfig::default().heartbeat())
                .await
                .map_err(refused("subscription to events"))
        };
        let events = advanced(Topic::Events).await?;
        let status = advanced(Topic::Status).await?;
        let alive = session
            .liveliness()
            .declare_subscriber(match (site, stream) {
                (None, None) => format!("{}/**/alive", keys::PREFIX),
                (Some(site), None) => format!("{}/{site}/**/alive", keys::PREFIX),
                _ => selector(Topic::Alive),
            })
            .history(true)
            // All tokens come at once.
            .with(RingChannel::new(16 * KEPT))
            .await
            .map_err(refused("subscription to liveliness"))?;
        Ok(Self { session, masks, events, status, alive, previews: None })
    }

    /// Subscribes to the pictures of one or all sites and streams, too: from now on daemons draw them.
    pub async fn look(&mut self, site: Option<&Site>, stream: Option<&StreamId>) -> Result<(), PublishError> {
        let selector = keys::stream_selector(site, stream, Topic::Preview);
        let pictures = self.session.declare_subscriber(selector).with(RingChannel::new(PICTURES));
        self.previews = Some(pictures.await.map_err(refused("subscription to previews"))?);
        Ok(())
    }

    /// The next thing said. Cancelling loses nothing. An error means that the session is closed.
    pub async fn next(&self) -> Result<Received, PublishError> {
        let closed = refused("the session is closed");
        let picture = async {
            match &self.previews {
                Some(previews) => previews.recv_async().await,
                None => std::future::pending().await,
            }
        };
        let sample = tokio::select! {
            sample = self.alive.recv_async() => return Ok(liveliness(&sample.map_err(closed)?)),
            sample = self.status.recv_async() => sample,
            sample = self.events.recv_async() => sample,
            sample = self.masks.recv_async() => sample,
            sample = picture => sample,
        }
        .map_err(closed)?;
        let key = sample.key_expr().to_string();
        Ok(read(&key, &sample).unwrap_or_else(|cause| Received::Unreadable { key, cause }))
    }

    /// Closes the session.
    pub async fn close(self) {
        if let Err(e) = self.session.close().await {
            tracing::debug!("zenoh did not close cleanly: {}", cause(&e));
        }
    }
}

fn read(key: &str, sample: &Sample) -> Result<Received, WireError> {
    let bytes = sample.payload().len();
    if bytes > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLarge { bytes, limit: MAX_MESSAGE_BYTES });
    }
    let raw = sample.payload().to_bytes();
    let format = format_of(Some(sample.encoding()), &raw);
    match keys::parse(key) {
        Some((.., Topic::Masks)) => Ok(Received::Masks {
            message: wire::decode(&raw, format, "masks message")?,
            raw: raw.into_owned(),
            format,
            received_unix_ns: wire::unix_ns(),
        }),
        Some((.., Topic::Events)) => Ok(Received::Event(wire::decode(&raw, format, "event message")?)),
        Some((site, stream, Topic::Preview)) => Ok(Received::Preview { site, stream, jpeg: raw.into_owned() }),
        Some((.., Topic::Status)) => Ok(Received::Status(wire::decode(&raw, format, "status message")?)),
        _ => Err(WireError::Malformed { what: "maskd key", cause: "other site, stream or topic names".to_owned() }),
    }
}

fn liveliness(sample: &Sample) -> Received {
    let key = sample.key_expr().to_string();
    let stream = keys::parse(&key).map(|(site, stream, _)| (site, stream));
    Received::Alive { key, stream, alive: sample.kind() == SampleKind::Put }
}

pub(super) async fn connect_to(connect: &[String], base: Option<&Path>) -> Result<Session, PublishError> {
    zenoh::open(reader_config(connect, base)?).await.map_err(|e| PublishError::Open {
        what: format!("connect {:?}", connect.iter().map(|e| shown(e)).collect::<Vec<_>>()),
        cause: cause(&e),
    })
}
