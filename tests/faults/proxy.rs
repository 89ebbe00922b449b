//! A network that can be broken: a TCP proxy between the daemon and a camera. RTSP goes over TCP, so it sees everything.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use maskd::publish::wire::unix_ns;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
};

use super::rtp::KeyFrames;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Link {
    /// Everything passes.
    Well,
    /// Nobody listens: connections are refused.
    Refuse,
    /// Connections are taken, and nothing passes, either way.
    Stall,
    /// So many bytes a second pass from the camera.
    Slow(usize),
    /// One byte in so many from the camera is lost, with up to a hundred that follow it.
    Drop(u32),
    /// One byte in so many from the camera has a bit turned over.
    Flip(u32),
    /// Whatever is asked is answered with bytes that mean nothing.
    Babble,
}

/// How connections end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a goodbye (FIN).
    Cut,
    /// Without one (RST).
    Reset,
}

/// The proxy. Dropped, it closes everything.
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    /// Counts up, with how: each connection that sees it change ends.
    end: watch::Sender<(u64, End)>,
    keys: Arc<Mutex<Option<u64>>>,
    listener: Option<JoinHandle<()>>,
    runtime: Runtime,
}

/// What a connection needs of the proxy.
#[derive(Clone)]
struct Shared {
    camera: SocketAddr,
    link: watch::Receiver<Link>,
    end: watch::Receiver<(u64, End)>,
    keys: Arc<Mutex<Option<u64>>>,
}

impl Proxy {
    /// To the camera that listens at `camera`, which all is well with.
    pub fn to(camera: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (link, link_seen) = watch::channel(Link::Well);
        let (end, end_seen) = watch::channel((0, End::Cut));
        let keys = Arc::new(Mutex::new(None));
        let shared = Shared { camera, link: link_seen, end: end_seen, keys: keys.clone() };
        let listener = Some(runtime.spawn(listen(address, listener, shared)));
        Self { address, link, end, keys, listener, runtime }
    }

    /// The same camera as at `url`, through this proxy.
    pub fn url(&self, url: &str) -> String {
        let path = url.trim_start_matches("rtsp://").split_once('/').map_or("", |(_, path)| path);
        format!("rtsp://{}/{path}", self.address)
    }

    /// From now on the network is so. Connections that are open stay open, but where none are taken.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
        if link == Link::Refuse {
            self.reset();
        }
    }

    /// Ends all connections with a goodbye.
    pub fn cut(&self) {
        self.end.send_modify(|end| *end = (end.0 + 1, End::Cut));
    }

    /// Ends all connections without one.
    pub fn reset(&self) {
        self.end.send_modify(|end| *end = (end.0 + 1, End::Reset));
    }

    /// Forgets the key frames that passed so far.
    pub fn watch_for_key_frame(&self) {
        *self.keys.lock().unwrap() = None;
    }

    /// When the start of a key frame first passed since it was last asked to watch (nanoseconds since the Unix epoch).
    pub fn key_frame(&self) -> Option<u64> {
        *self.keys.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            let _ = self.runtime.block_on(listener);
        }
        self.cut();
    }
}

/// Takes connections for ever; closes the door while they are refused.
async fn listen(address: SocketAddr, listener: TcpListener, shared: Shared) {
    let mut link = shared.link.clone();
    let mut open = Some(listener);
    loop {
        let refuse = *link.borrow_and_update() == Link::Refuse;
        match &mut open {
            Some(_) if refuse => open = None,
            None if !refuse => open = TcpListener::bind(address).await.ok(),
            Some(listener) => {
                tokio::select! {
                    taken = listener.accept() => {
                        if let Ok((daemon, _)) = taken {
                            tokio::spawn(carry(daemon, shared.clone()));
                        }
                    }
                    _ = link.changed() => {}
                }
                continue;
            }
            None => {}
        }
        let changed = tokio::time::timeout(Duration::from_millis(20), link.changed()).await;
        if changed.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}

/// One connection of the daemon's, to its end.
async fn carry(daemon: TcpStream, shared: Shared) {
    let Ok(camera) = TcpStream::connect(shared.camera).await else { return };
    let mut end = shared.end.clone();
    end.borrow_and_update();
    let seed = u64::from(daemon.peer_addr().map_or(0, |peer| peer.port()));
    let to_camera = pump(&daemon, &camera, shared.link.clone(), |_, _| {});
    let mut wire = Wire { rng: ChaCha8Rng::seed_from_u64(seed), lose: 0, keys: KeyFrames::default() };
    let seen = shared.keys.clone();
    let to_daemon = pump(&camera, &daemon, shared.link.clone(), move |link, bytes| {
        wire.spoil(link, bytes);
        if link != Link::Babble && wire.keys.passed(bytes) {
            seen.lock().unwrap().get_or_insert_with(unix_ns);
        }
    });
    tokio::select! {
        _ = to_camera => {}
        _ = to_daemon => {}
        _ = end.changed() => {
            if end.borrow().1 == End::Reset {
                let _ = (daemon.set_zero_linger(), camera.set_zero_linger());
            }
        }
    }
}

/// What the wire does to the bytes from a camera.
struct Wire {
    rng: ChaCha8Rng,
    /// Bytes that are still to be lost.
    lose: u32,
    keys: KeyFrames,
}

impl Wire {
    fn spoil(&mut self, link: Link, bytes: &mut Vec<u8>) {
        match link {
            Link::Drop(one_in) => bytes.retain(|_| {
                if self.lose > 0 {
                    self.lose -= 1;
                    return false;
                }
                if self.rng.random_range(0..one_in) == 0 {
                    self.lose = self.rng.random_range(0..100);
                    return false;
                }
                true
            }),
            Link::Flip(one_in) => {
                for byte in bytes {
                    if self.rng.random_range(0..one_in) == 0 {
                        *byte ^= 1 << self.rng.random_range(0..8);
                    }
                }
            }
            Link::Babble => self.rng.fill(&mut bytes[..]),
            Link::Well | Link::Refuse | Link::Stall | Link::Slow(_) => {}
        }
    }
}

/// Carries bytes one way until that ends, as the link allows.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    mut link: watch::Receiver<Link>,
    mut spoil: impl FnMut(Link, &mut Vec<u8>),
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *link.borrow_and_update();
        if now == Link::Stall {
            if link.changed().await.is_err() {
                return Ok(());
            }
            continue;
        }
        tokio::select! {
            ready = from.readable() => ready?,
            changed = link.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                continue;
            }
        }
        let room = if let Link::Slow(rate) = now { (rate / 20).clamp(1, buffer.len()) } else { buffer.len() };
        let read = match from.try_read(&mut buffer[..room]) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = buffer[..read].to_vec();
        spoil(now, &mut bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if let Link::Slow(rate) = now {
            let pause = Duration::from_secs_f64(read as f64 / rate as f64);
            let _ = tokio::time::timeout(pause, link.changed()).await;
        }
    }
}
