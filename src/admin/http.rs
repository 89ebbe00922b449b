//! The probes over HTTP/1.1. Anybody may connect, so connections are few, short, and read little.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use super::Health;
use maskd_observability::{heartbeat::Stuck, metrics::Metrics};

/// What one listener grants.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time; more wait to be accepted.
    connections: usize,
    /// From a connection's opening, or the answer before, to a request's last header line; an idle connection ends then.
    request: Duration,
    /// A connection as a whole, so that one who does not read his answer holds it no longer.
    connection: Duration,
}

/// The most bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;

const LIMITS: Limits =
    Limits { connections: 32, request: Duration::from_secs(10), connection: Duration::from_secs(60) };

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    metrics: Metrics,
}

/// Serves the probes on `listener` until `stop` resolves; answers under way get a second to leave.
///
/// # Errors
/// The listener broke.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    if let Ok(address) = listener.local_addr()
        && !address.ip().is_loopback()
    {
        tracing::warn!("health and metrics are served on {address} without a password: anybody there can read them");
    }
    serve_within(LIMITS, listener, health, metrics, stop).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/", get(|| async { "maskd: /healthz /readyz /metrics\n" }))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Shared { health, metrics });
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    tokio::pin!(stop);
    let ended = loop {
        let accept = async {
            // Never closed: without a free place, no connection is accepted.
            let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
            io::Result::Ok((place, listener.accept().await?.0))
        };
        tokio::select! {
            () = &mut stop => break Ok(()),
            Some(_) = open.join_next() => {}
            accepted = accept => match accepted {
                Ok((place, stream)) => {
                    let routes = routes.clone();
                    open.spawn(async move {
                        converse(limits, stream, routes).await;
                        drop(place);
                    });
                }
                // One caller's fault, or a lack of file descriptors that passes.
                Err(e) if is_passing(&e) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(e) => break Err(e),
            },
        }
    };
    drop(listener);
    let _ = timeout(Duration::from_secs(1), async { while open.join_next().await.is_some() {} }).await;
    ended
}

fn is_passing(error: &io::Error) -> bool {
    const NO_FILES_LEFT: [i32; 2] = [23, 24];
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
        || error.raw_os_error().is_some_and(|code| NO_FILES_LEFT.contains(&code))
}

/// One connection to its end. What went wrong on it is the caller's business.
async fn converse(limits: Limits, stream: TcpStream, routes: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let _ = timeout(limits.connection, connection).await;
}

fn json_answer(good: bool, body: &serde_json::Value) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

async fn healthz(State(shared): State<Shared>) -> Response {
    let stuck = shared.health.stuck();
    let told = |stage: &Stuck| json!({"stage": stage.stage, "silent_seconds": stage.silent.map(|s| s.as_secs_f64())});
    json_answer(
        stuck.is_empty(),
        &json!({"alive": stuck.is_empty(), "stuck": stuck.iter().map(told).collect::<Vec<_>>()}),
    )
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let (ready, body) = shared.health.readiness();
    json_answer(ready, &body)
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, open_metrics)], shared.metrics.render()).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails; clippy.toml misses async tests")]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn start(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::new([], maskd_observability::heartbeat::Heartbeats::default()));
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        (address, stop, tokio::spawn(serve_within(limits, listener, health, Metrics::new(), stopped)))
    }

    /// What the server says to `request` until it closes the connection, and how long that took.
    async fn say(address: SocketAddr, request: &[u8]) -> (String, Duration) {
        let start = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may have heard enough before all is sent.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
    }

    fn within(request: u64, connection: u64, connections: usize) -> Limits {
        Limits { connections, request: Duration::from_millis(request), connection: Duration::from_millis(connection) }
    }

    #[tokio::test]
    async fn who_dawdles_or_says_too_much_is_let_go() {
        let (address, stop, served) = start(within(200, 30_000, 4)).await;
        let (answer, took) = say(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ").await;
        assert!(!answer.contains("200 OK") && took >= Duration::from_millis(190), "{answer} after {took:?}");
        // Idle after an answer: closed all the same.
        let (answer, _) = say(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let long = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD));
        let (answer, _) = say(address, long.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let (answer, _) =
            say(address, b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        let (answer, _) = say(address, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, b'\r', b'\n', b'\r', b'\n']).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_ends_even_for_one_who_keeps_talking() {
        let (address, _stop, _served) = start(within(30_000, 300, 4)).await;
        let (answer, took) = say(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(took >= Duration::from_millis(290), "closed after {took:?}");
    }

    #[tokio::test]
    async fn those_above_the_limit_wait_their_turn() {
        let (address, _stop, _served) = start(within(400, 30_000, 2)).await;
        let idle = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let (answer, took) = say(address, b"GET / HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
        assert!(took >= Duration::from_millis(300), "served beside the others after {took:?}");
        drop(idle);
    }

    #[test]
    fn only_this_machine_is_served_unless_told_otherwise() {
        let super::super::Listen::At(address) = super::super::AdminConfig::default().listen else { unreachable!() };
        assert!(address.ip().is_loopback());
    }
}
