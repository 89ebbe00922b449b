//! The daemon's zenoh session: opens it, says that the daemon is alive, and answers for its configuration.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use zenoh::{Session, key_expr::KeyExpr, liveliness::LivelinessToken, query::Queryable};

use super::{
    PublishConfig, PublishError, cause,
    config::{opening, shown},
    outgoing::{self, Outgoing, Shared},
    publisher::{Capabilities, Publisher, StreamPublisher},
    queries::{self, Ask},
    refused,
    requests::Requests,
    stream::ZenohStream,
};
use maskd_observability::{heartbeat::Heartbeats, metrics::Metrics};
use maskd_protocol::keys::{self, Site};
use maskd_types::frame::StreamId;

/// How long closing waits for the last events to leave.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The daemon's side of zenoh. One a process; cheap calls, no thread of its own.
pub struct ZenohPublisher {
    shared: Arc<Shared>,
    _alive: LivelinessToken,
    resolved: Arc<Mutex<Arc<str>>>,
    _config: Queryable<()>,
    _control: Option<Queryable<()>>,
}

impl ZenohPublisher {
    /// Opens the session, declares the daemon's liveliness token, and answers queries on `maskd/v1/<site>/config` with
    /// `resolved` (the whole configuration as text; the caller has taken the secrets out).
    ///
    /// `model` is the id of the weights that masks messages name. Prompts and reloads that are asked for go to `requests`.
    /// What publishes events and answers queries shows signs of life at `heartbeats`. Needs tokio's multi-thread runtime. Errors: the configuration, an address in use, no router (client).
    pub async fn open(
        config: &PublishConfig,
        resolved: &str,
        model: &str,
        requests: Requests,
        metrics: Metrics,
        heartbeats: &Heartbeats,
    ) -> Result<Self, PublishError> {
        let zenoh_config = config.to_zenoh()?;
        let endpoints = |key: &str| without_settings(&zenoh_config.get_json(key).unwrap_or_default());
        let what = format!("listen {}, connect {}", endpoints("listen/endpoints"), endpoints("connect/endpoints"));
        if let Some(opening) = opening(&zenoh_config) {
            tracing::warn!("{opening}: anybody there can watch and send prompts");
        }
        let session =
            zenoh::open(zenoh_config).await.map_err(|e| PublishError::Open { what: what.clone(), cause: cause(&e) })?;
        let site = config.site.clone();
        tracing::info!(%site, zid = %session.zid(), "publishing over zenoh: {what}");

        let asks = queries::open(requests, metrics.clone(), heartbeats.stage("queries"));
        let alive = session
            .liveliness()
            .declare_token(keys::daemon_alive(&site))
            .await
            .map_err(refused("the daemon's liveliness token"))?;
        let key = KeyExpr::try_from(keys::daemon_config(&site)).map_err(refused("the configuration's key"))?;
        let resolved = Arc::new(Mutex::new(Arc::<str>::from(resolved)));
        let (queries, text) = (asks.clone(), resolved.clone());
        let config_queryable = session
            .declare_queryable(key.clone())
            // A full queue of queries answers nothing: the asker sees an empty reply.
            .callback(move |query| {
                let text = text.lock().clone();
                drop(queries.try_send(Ask::Config(key.clone(), query, text)));
            })
            .await
            .map_err(refused("the configuration's queryable"))?;

        let control = match config.control {
            true => Some(take_reloads(&session, &site, asks.clone()).await?),
            false => None,
        };

        let shared = Shared {
            session,
            site,
            format: config.encoding,
            max_message_bytes: config.max_message_bytes,
            model: model.to_owned(),
            metrics,
            asks,
            outgoing: outgoing::open(heartbeats.stage("events")),
        };
        Ok(Self { shared: Arc::new(shared), _alive: alive, resolved, _config: config_queryable, _control: control })
    }

    /// Where the session can be reached: the endpoints it listens on, with the ports that it was given for port 0.
    pub async fn locators(&self) -> Vec<String> {
        self.shared.session.info().locators().await.iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Publisher for ZenohPublisher {
    fn name(&self) -> &str {
        "zenoh"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { previews: true, queries: true, prompts: true }
    }

    /// Answers queries for the configuration with `resolved` from now on.
    fn tell_config(&self, resolved: &str) {
        *self.resolved.lock() = resolved.into();
    }

    /// Declares the keys of one stream; dropping what is returned takes them back.
    async fn stream(&self, stream: StreamId) -> Result<Box<dyn StreamPublisher>, PublishError> {
        Ok(Box::new(ZenohStream::declare(self.shared.clone(), stream).await?))
    }

    /// Waits a little for the last events to leave, then closes the session.
    async fn close(self: Box<Self>) {
        let (flushed, done) = oneshot::channel();
        if self.shared.outgoing.try_send(Outgoing::Flush(flushed)).is_ok() && timeout(FLUSH_WITHIN, done).await.is_err()
        {
            tracing::warn!("some events were not delivered before closing: a subscriber is too slow");
        }
        if let Err(e) = self.shared.session.close().await {
            tracing::warn!("zenoh did not close cleanly: {}", cause(&e));
        }
    }
}

async fn take_reloads(
    session: &Session,
    site: &Site,
    queries: mpsc::Sender<Ask>,
) -> Result<Queryable<()>, PublishError> {
    session
        .declare_queryable(keys::daemon_reload(site))
        .callback(move |query| drop(queries.try_send(Ask::Reload(query))))
        .await
        .map_err(refused("the control queryable"))
}

/// Endpoints as JSON, each as [`shown`].
fn without_settings(json: &str) -> String {
    json.split('"').map(shown).collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_inside_an_endpoint_are_not_shown() {
        let json = r#"{"peer":["tls/h:1#listen_private_key_base64=c2VjcmV0","tcp/[::1]:7447?prio=1"]}"#;
        assert_eq!(super::without_settings(json), r#"{"peer":["tls/h:1","tcp/[::1]:7447"]}"#);
    }
}
