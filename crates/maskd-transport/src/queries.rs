//! The query handler: one task that answers all queries and takes prompts, so that zenoh's receiving threads never wait and a
//! slow client delays other clients only.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use zenoh::{
    bytes::{Encoding, ZBytes},
    key_expr::KeyExpr,
    query::Query,
    sample::Sample,
};

use super::{
    cause,
    requests::{PromptAnswer, PromptRequest, ReloadRequest, Requests, WAITING_PROMPTS},
};
use maskd_observability::{heartbeat::Heartbeat, metrics::Metrics};
use maskd_protocol::wire::{self, Format, MAX_PROMPT_BYTES, PromptReply, WireError};
use maskd_types::frame::StreamId;

/// Queries that may wait; those above are not answered.
const WAITING_ASKS: usize = 64;

/// How long the runtime may take to say yes or no; below zenoh's own limit for queries (10 s).
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// The newest message of a kind, if any.
pub(super) type Latest = watch::Receiver<Option<(Encoding, ZBytes)>>;

/// What is asked of the daemon.
pub(super) enum Ask {
    /// Answer with the newest message of a key.
    Latest(KeyExpr<'static>, Query, Latest),
    /// Answer with the configuration.
    Config(KeyExpr<'static>, Query, Arc<str>),
    /// A prompt that waits for an answer.
    Prompt(StreamId, Query),
    /// A prompt by put: nobody waits.
    Put(StreamId, Sample),
    /// The configuration is to be read again.
    Reload(Query),
}

/// Starts the query handler on the current tokio runtime; what is asked of the daemon goes to `requests`.
pub(super) fn open(requests: Requests, metrics: Metrics, heartbeat: Heartbeat) -> mpsc::Sender<Ask> {
    let (asks, mut asked) = mpsc::channel(WAITING_ASKS);
    let handler = QueryHandler { requests, metrics };
    // Ends when the session that asks is gone.
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            heartbeat.beat();
            handler.answer(ask).await;
            if asked.is_empty() {
                heartbeat.rest();
            }
        }
    });
    asks
}

struct QueryHandler {
    requests: Requests,
    metrics: Metrics,
}

impl QueryHandler {
    async fn answer(&self, ask: Ask) {
        match ask {
            Ask::Latest(key, query, latest) => {
                let newest = latest.borrow().clone();
                match newest {
                    Some((encoding, payload)) => reply(&key, &query, payload, encoding).await,
                    None => refuse(&query, "nothing has been published here yet").await,
                }
            }
            Ask::Config(key, query, text) => reply(&key, &query, text.as_bytes().into(), Encoding::TEXT_PLAIN).await,
            Ask::Reload(query) => self.reload_later(query),
            Ask::Prompt(stream, query) => match self.take_query(&stream, &query) {
                Ok(answered) => self.reply_later(stream, query, answered),
                Err(Refusal { outcome, why }) => {
                    self.metrics.prompt(&stream, outcome);
                    refuse(&query, &why).await;
                }
            },
            Ask::Put(stream, sample) => match self.take_put(&stream, &sample) {
                Ok(answered) => self.log_later(stream, answered),
                Err(Refusal { outcome, why }) => {
                    self.metrics.prompt(&stream, outcome);
                    tracing::warn!(%stream, "prompt refused: {why}");
                }
            },
        }
    }

    fn take_query(&self, stream: &StreamId, query: &Query) -> Result<Answered, Refusal> {
        let Some(payload) = query.payload() else {
            return Err(Refusal::bad("a prompt needs a payload, such as {\"kind\":\"reset\"}"));
        };
        self.take(stream, query.key_expr().is_wild(), payload, query.encoding())
    }

    fn take_put(&self, stream: &StreamId, sample: &Sample) -> Result<Answered, Refusal> {
        self.take(stream, sample.key_expr().is_wild(), sample.payload(), Some(sample.encoding()))
    }

    fn take(
        &self,
        stream: &StreamId,
        wild: bool,
        payload: &ZBytes,
        encoding: Option<&Encoding>,
    ) -> Result<Answered, Refusal> {
        if wild {
            return Err(Refusal::bad("a prompt is for one stream: use its whole key, without wildcards"));
        }
        if payload.len() > MAX_PROMPT_BYTES {
            return Err(WireError::TooLarge { bytes: payload.len(), limit: MAX_PROMPT_BYTES }.into());
        }
        let bytes = payload.to_bytes();
        let prompt = wire::decode_prompt(&bytes, format_of(encoding, &bytes))?;
        let (answer, answered) = PromptAnswer::channel();
        let request = PromptRequest { stream: stream.clone(), prompt, answer };
        match self.requests.prompts.try_send(request) {
            Ok(()) => Ok(answered),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Refusal::busy()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Refusal::bad("the daemon is stopping")),
        }
    }

    fn reply_later(&self, stream: StreamId, query: Query, answered: Answered) {
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            match outcome(answered).await {
                Ok(()) => {
                    metrics.prompt(&stream, "accepted");
                    let yes = wire::encode(&PromptReply { accepted: true }, Format::Json).unwrap_or_default();
                    reply(query.key_expr(), &query, yes.into(), Encoding::APPLICATION_JSON).await;
                }
                Err(why) => {
                    metrics.prompt(&stream, "refused");
                    refuse(&query, &why).await;
                }
            }
        });
    }

    fn reload_later(&self, query: Query) {
        let (answer, answered) = oneshot::channel();
        // A query for all there is must not do anything.
        let asked = match query.key_expr().is_wild() {
            true => Err("use the whole key, without wildcards"),
            false => {
                self.requests.reloads.try_send(ReloadRequest(answer)).map_err(|_| "busy: another reload is under way")
            }
        };
        tokio::spawn(async move {
            let answer = match asked {
                Ok(()) => outcome(answered).await,
                Err(why) => Err(why.to_owned()),
            };
            match answer {
                Ok(reloaded) => {
                    let told = wire::encode(&reloaded, Format::Json).unwrap_or_default();
                    reply(query.key_expr(), &query, told.into(), Encoding::APPLICATION_JSON).await;
                }
                Err(why) => refuse(&query, &why).await,
            }
        });
    }

    fn log_later(&self, stream: StreamId, answered: Answered) {
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            match outcome(answered).await {
                Ok(()) => metrics.prompt(&stream, "accepted"),
                Err(why) => {
                    metrics.prompt(&stream, "refused");
                    tracing::warn!(%stream, "prompt refused: {why}");
                }
            }
        });
    }
}

type Answered = oneshot::Receiver<Result<(), String>>;

struct Refusal {
    outcome: &'static str,
    why: String,
}

impl Refusal {
    fn bad(why: &str) -> Self {
        Self { outcome: "refused", why: why.to_owned() }
    }

    fn busy() -> Self {
        Self { outcome: "busy", why: format!("busy: {WAITING_PROMPTS} prompts are waiting, try again") }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::bad(&format!("prompt refused: {error}"))
    }
}

async fn outcome<T>(answered: oneshot::Receiver<Result<T, String>>) -> Result<T, String> {
    match timeout(ANSWER_WITHIN, answered).await {
        Ok(Ok(result)) => result.map_err(|why| wire::lines(&why)),
        Ok(Err(_)) => Err("the daemon is stopping".to_owned()),
        Err(_) => Err(format!("no answer within {} s; it may still be applied", ANSWER_WITHIN.as_secs())),
    }
}

/// What a payload says it is; where it says nothing useful, what it looks like.
pub(super) fn format_of(encoding: Option<&Encoding>, bytes: &[u8]) -> Format {
    match encoding {
        Some(e) if *e == Encoding::APPLICATION_CBOR => Format::Cbor,
        Some(e) if *e == Encoding::APPLICATION_JSON => Format::Json,
        _ if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b >= 0xa0) => Format::Cbor,
        _ => Format::Json,
    }
}

/// `key` is the queryable's own: what the asker wrote may hold wildcards.
async fn reply(key: &KeyExpr<'_>, query: &Query, payload: ZBytes, encoding: Encoding) {
    if let Err(e) = query.reply(key, payload).encoding(encoding).await {
        tracing::debug!("a query could not be answered: {}", cause(&e));
    }
}

async fn refuse(query: &Query, why: &str) {
    if let Err(e) = query.reply_err(why).encoding(Encoding::TEXT_PLAIN).await {
        tracing::debug!("a query could not be refused: {}", cause(&e));
    }
}
