//! The other end: reads what daemons publish, and asks them things. `maskd watch`, `maskd prompt` and the tests use it.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, timeout_at};
use zenoh::{
    Session,
    bytes::Encoding,
    handlers::{RingChannel, RingChannelHandler},
    pubsub::Subscriber,
    sample::{Sample, SampleKind},
};
use zenoh_ext::{AdvancedSubscriber, AdvancedSubscriberBuilderExt, HistoryConfig, RecoveryConfig};

use super::{
    PublishError, cause,
    config::{reader_config, shown},
    desk::format_of,
    keys::{self, Site, Topic},
    refused,
    wire::{self, EventMessage, Format, MAX_MESSAGE_BYTES, MasksMessage, StatusMessage, WireError},
};
use crate::{frame::StreamId, instance::Prompt};

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

/// What became of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will be applied to the stream's next frame.
    Accepted,
    /// It will not; why.
    Refused(String),
    /// No daemon with such a stream was found in time.
    Nobody,
    /// The stream is there, but the prompt was not answered.
    Unheard,
    /// Several sites have a stream of this name; it was sent to none.
    Several(Vec<Site>),
}

/// Sends a prompt to `stream` (of `site`, or of the only site that has it) and waits for the answer.
pub async fn ask(
    connect: &[String],
    base: Option<&Path>,
    site: Option<&Site>,
    stream: &StreamId,
    prompt: &Prompt,
    within: Duration,
) -> Result<Answer, PublishError> {
    let deadline = Instant::now() + within;
    let payload = wire::encode(prompt, Format::Json)?;
    let session = connect_to(connect, base).await?;
    let answer = match timeout_at(deadline, find(&session, site, stream)).await {
        Err(_) => Answer::Nobody,
        Ok(sites) => match sites?.as_slice() {
            [] => Answer::Nobody,
            [site] => {
                let replies = session
                    .get(keys::stream_key(site, stream, Topic::Prompt))
                    .payload(payload)
                    .encoding(Encoding::APPLICATION_JSON)
                    .timeout(deadline.saturating_duration_since(Instant::now()))
                    .await
                    .map_err(refused("prompt"))?;
                match replies.recv_async().await.map(|reply| reply.into_result()) {
                    Ok(Ok(_)) => Answer::Accepted,
                    Ok(Err(e)) => Answer::Refused(wire::one_line(&String::from_utf8_lossy(&e.payload().to_bytes()))),
                    Err(_) => Answer::Unheard,
                }
            }
            several => Answer::Several(several.to_vec()),
        },
    };
    if let Err(e) = session.close().await {
        tracing::debug!("zenoh did not close cleanly: {}", cause(&e));
    }
    Ok(answer)
}

/// The sites that have a stream of this name, as soon as there is one.
async fn find(session: &Session, site: Option<&Site>, stream: &StreamId) -> Result<Vec<Site>, PublishError> {
    let tokens = keys::stream_selector(site, Some(stream), Topic::Alive);
    let first = session
        .liveliness()
        .declare_subscriber(&tokens)
        .history(true)
        .with(RingChannel::new(1))
        .await
        .map_err(refused("liveliness"))?;
    first.recv_async().await.map_err(refused("liveliness"))?;
    let all = session.liveliness().get(&tokens).await.map_err(refused("liveliness"))?;
    let mut sites = Vec::new();
    while let Ok(reply) = all.recv_async().await {
        if let Some((site, ..)) = reply.result().ok().and_then(|sample| keys::parse(sample.key_expr().as_str()))
            && !sites.contains(&site)
        {
            sites.push(site);
        }
    }
    Ok(sites)
}

async fn connect_to(connect: &[String], base: Option<&Path>) -> Result<Session, PublishError> {
    zenoh::open(reader_config(connect, base)?).await.map_err(|e| PublishError::Open {
        what: format!("connect {:?}", connect.iter().map(|e| shown(e)).collect::<Vec<_>>()),
        cause: cause(&e),
    })
}
