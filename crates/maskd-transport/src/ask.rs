//! Asks daemons to do something: follow a prompt, read their configuration again. `maskd prompt`, `maskd reload` and the
//! tests use it.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, timeout_at};
use zenoh::{
    Session,
    bytes::{Encoding, ZBytes},
    handlers::{RingChannel, RingChannelHandler},
    pubsub::Subscriber,
    query::ReplyError,
    sample::{Sample, SampleKind},
};

use super::{PublishError, cause, reader::connect_to, refused};
use maskd_protocol::{
    keys::{self, Site, Topic},
    wire::{self, Format, Reloaded},
};
use maskd_types::{frame::StreamId, instance::Prompt};

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
    let answered = match timeout_at(deadline, find(&session, site, stream)).await {
        Err(_) => Answer::Nobody,
        Ok(sites) => match sites?.as_slice() {
            [] => Answer::Nobody,
            [site] => {
                let key = keys::stream_key(site, stream, Topic::Prompt);
                match answer(&session, &key, Some(payload), deadline, "prompt").await? {
                    Some(Ok(_)) => Answer::Accepted,
                    Some(Err(e)) => Answer::Refused(wire::one_line(&String::from_utf8_lossy(&e.payload().to_bytes()))),
                    None => Answer::Unheard,
                }
            }
            several => Answer::Several(several.to_vec()),
        },
    };
    close(session).await;
    Ok(answered)
}

/// Hears of daemons or streams by their liveliness `tokens`, those that are there already too; the last one counts.
async fn signs_of_life(
    session: &Session,
    tokens: &str,
) -> Result<Subscriber<RingChannelHandler<Sample>>, PublishError> {
    let declared = session.liveliness().declare_subscriber(tokens).history(true).with(RingChannel::new(1)).await;
    declared.map_err(refused("liveliness"))
}

/// What is answered at `key`, a refusal too; none if nobody answers until `deadline`. `what` names the question in errors.
async fn answer(
    session: &Session,
    key: &str,
    json: Option<Vec<u8>>,
    deadline: Instant,
    what: &'static str,
) -> Result<Option<Result<Sample, ReplyError>>, PublishError> {
    let mut question = session.get(key).timeout(deadline.saturating_duration_since(Instant::now()));
    if let Some(json) = json {
        question = question.payload(ZBytes::from(json)).encoding(Encoding::APPLICATION_JSON);
    }
    let replies = question.await.map_err(refused(what))?;
    Ok(replies.recv_async().await.ok().map(|reply| reply.into_result()))
}

async fn close(session: Session) {
    if let Err(e) = session.close().await {
        tracing::debug!("zenoh did not close cleanly: {}", cause(&e));
    }
}

/// The sites that have a stream of this name, as soon as there is one.
async fn find(session: &Session, site: Option<&Site>, stream: &StreamId) -> Result<Vec<Site>, PublishError> {
    let tokens = keys::stream_selector(site, Some(stream), Topic::Alive);
    let seen = signs_of_life(session, &tokens).await?;
    let mut sites = Vec::new();
    let note = |sites: &mut Vec<Site>, sample: &Sample| {
        if let Some((site, ..)) = keys::parse(sample.key_expr().as_str())
            && !sites.contains(&site)
        {
            sites.push(site);
        }
    };
    // What was seen counts: a router that is new to the asker may know of a token before it answers for it.
    while sites.is_empty() {
        let sample = seen.recv_async().await.map_err(refused("liveliness"))?;
        if sample.kind() == SampleKind::Put {
            note(&mut sites, &sample);
        }
    }
    let all = session.liveliness().get(&tokens).await.map_err(refused("liveliness"))?;
    while let Ok(reply) = all.recv_async().await {
        if let Ok(sample) = reply.result() {
            note(&mut sites, sample);
        }
    }
    Ok(sites)
}

/// What became of a request to read the configuration again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloading {
    /// It did; what has changed.
    Done(Reloaded),
    /// It refused the configuration, and goes on as it was: why, one line for each fault.
    Refused(String),
    /// Nobody answered: no daemon, none that allows it, or no right to ask.
    Unheard,
}

/// Has the daemon of `site` read its configuration again.
///
/// # Errors
/// The session cannot be opened, or an answer not be read.
pub async fn reload(
    connect: &[String],
    base: Option<&Path>,
    site: &Site,
    within: Duration,
) -> Result<Reloading, PublishError> {
    let deadline = Instant::now() + within;
    let session = connect_to(connect, base).await?;
    let alive = signs_of_life(&session, &keys::daemon_alive(site)).await?;
    // Once its token is seen, its queryables are, too.
    let answered = if timeout_at(deadline, alive.recv_async()).await.is_err() {
        Reloading::Unheard
    } else {
        match answer(&session, &keys::daemon_reload(site), None, deadline, "reload").await? {
            Some(Ok(sample)) => Reloading::Done(wire::decode_plain(&sample.payload().to_bytes())?),
            Some(Err(e)) => Reloading::Refused(wire::lines(&String::from_utf8_lossy(&e.payload().to_bytes()))),
            None => Reloading::Unheard,
        }
    };
    close(session).await;
    Ok(answered)
}
