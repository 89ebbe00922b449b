//! An RTSP server that answers as a test has it, and remembers what it was told.

use std::{
    io::{BufRead, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

/// Listens until the process ends.
pub struct Script {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

/// A request, and the answers to it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as DESCRIBE.
    pub kind: String,
    /// The address that is asked for.
    pub url: String,
    /// What follows `Authorization: `.
    pub login: Option<String>,
    number: String,
}

impl Script {
    /// Answers at `address`, such as `127.0.0.1:0`.
    pub fn at(address: &str, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let script =
            Self { address: listener.local_addr().unwrap(), heard: Arc::default(), connections: Arc::default() };
        let (heard, connections, answer) = (script.heard.clone(), script.connections.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, SeqCst);
                let (heard, answer) = (heard.clone(), answer.clone());
                thread::spawn(move || talk(stream, &heard, &*answer));
            }
        });
        script
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of what is at `path` (`/name`).
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

fn talk(mut stream: TcpStream, heard: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Vec<u8>) {
    let mut requests = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = Request::read(&mut requests) {
        let said = answer(&request);
        heard.lock().unwrap().push(request);
        // The other side may be gone.
        let _ = stream.write_all(&said);
    }
}

impl Request {
    /// The next request; `None` where the connection has ended.
    fn read(from: &mut impl BufRead) -> Option<Self> {
        // An address may be no UTF-8.
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        let mut lines = from.split(b'\n').map_while(Result::ok).map(text);
        let first = lines.find(|line| !line.is_empty())?;
        let mut words = first.split(' ').map(str::to_owned);
        let mut request =
            Self { kind: words.next()?, url: words.next().unwrap_or_default(), login: None, number: String::new() };
        for line in lines {
            if line.is_empty() {
                return Some(request);
            } else if let Some(number) = line.strip_prefix("CSeq: ") {
                request.number = number.trim().to_owned();
            } else if let Some(login) = line.strip_prefix("Authorization: ") {
                request.login = Some(login.trim().to_owned());
            }
        }
        None
    }

    fn answer(&self, status: &str, headers: &str, body: &str) -> Vec<u8> {
        let (number, length) = (&self.number, body.len());
        format!("RTSP/1.0 {status}\r\nCSeq: {number}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    /// As a camera of one video answers, which never sends a picture. `controls` are lines for the description of the
    /// media: for all of it, and for the video.
    pub fn camera_with(&self, [session, media]: [&str; 2]) -> Vec<u8> {
        let (headers, body) = match self.kind.as_str() {
            "OPTIONS" => ("Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".to_owned(), String::new()),
            "DESCRIBE" => (
                format!("Content-Type: application/sdp\r\nContent-Base: {}/\r\n", self.url),
                format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n{session}m=video 0 RTP/AVP 96\r\n\
                     a=rtpmap:96 H264/90000\r\n{media}"
                ),
            ),
            "SETUP" => ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n".to_owned(), String::new()),
            _ => ("Session: 1\r\n".to_owned(), String::new()),
        };
        self.answer("200 OK", &headers, &body)
    }

    /// As [`Request::camera_with`], with nothing odd in the description.
    pub fn camera(&self) -> Vec<u8> {
        self.camera_with(["", "a=control:video\r\n"])
    }

    /// Sends the client to `url`.
    pub fn moved(&self, url: &str) -> Vec<u8> {
        self.answer("302 Found", &format!("Location: {url}\r\n"), "")
    }

    /// Asks for a login, such as `Basic realm="x"`.
    pub fn login_please(&self, challenge: &str) -> Vec<u8> {
        self.answer("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"), "")
    }
}
