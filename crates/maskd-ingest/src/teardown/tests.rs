//! Pipelines that would not end by themselves.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, bounded};

use super::{
    super::{description::Description, source::SourceConfig},
    *,
};
use maskd_observability::metrics::Metrics;

fn calls() -> BlockingCalls {
    BlockingCalls::new("a".parse().unwrap(), Metrics::new())
}

#[test]
fn a_jitter_buffer_that_waits_for_itself_is_woken() {
    gst::init().unwrap();
    for _ in 0..5 {
        // Linked to nothing: elsewhere, so many flushes would block others.
        let buffer = gst::ElementFactory::make("rtpjitterbuffer").build().unwrap();
        let sink = buffer.static_pad("sink").unwrap();
        let pipeline = gst::Pipeline::new();
        pipeline.add(&buffer).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let over = closed.clone();
        // What rtspsrc does when it closes, again and again, so that it comes at the worst moment.
        let flusher = std::thread::spawn(move || {
            while !over.load(Relaxed) {
                sink.send_event(gst::event::FlushStop::new(true));
            }
        });
        let calls = calls();
        let stops = pipeline.clone();
        let ended = std::thread::spawn(move || {
            let stopped = stop(&stops, &calls);
            (stopped, calls.hanging())
        });
        std::thread::park_timeout(Duration::from_millis(20));
        closed.store(true, Relaxed);
        flusher.join().unwrap();
        assert_eq!(ended.join().unwrap(), (true, 0));
        // Where the flushes outlived it, they have started its loop again.
        pipeline.set_state(gst::State::Paused).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// A camera that falls silent in the middle of its answer to a request of this kind; and each kind that it was asked for.
fn camera(silent_at: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = bounded(100);
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut requests = BufReader::new(connection.try_clone().unwrap());
        while let Some((kind, number)) = request(&mut requests) {
            let answer = answer(&kind, &number, address);
            let said = if kind == silent_at { answer.len() / 2 } else { answer.len() };
            // The other side may be gone.
            let _ = connection.write_all(&answer.as_bytes()[..said]);
            let _ = tell.send(kind);
        }
    });
    (address, told)
}

/// The next request's kind and number; `None` where the connection has ended.
fn request(requests: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let (mut kind, mut number) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        match requests.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line.trim().is_empty() && !kind.is_empty() => return Some((kind, number)),
            Ok(_) if kind.is_empty() => kind = line.split(' ').next()?.trim().to_owned(),
            Ok(_) => {
                if let Some(given) = line.strip_prefix("CSeq: ") {
                    number = given.trim().to_owned();
                }
            }
        }
    }
}

fn answer(kind: &str, number: &str, address: SocketAddr) -> String {
    let (headers, body) = match kind {
        "OPTIONS" => ("Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".to_owned(), ""),
        "DESCRIBE" => (
            format!("Content-Type: application/sdp\r\nContent-Base: rtsp://{address}/\r\n"),
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
             a=rtpmap:96 H264/90000\r\na=control:video\r\n",
        ),
        "SETUP" => ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n".to_owned(), ""),
        _ => ("Session: 1\r\n".to_owned(), ""),
    };
    let length = body.len();
    format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[test]
fn a_camera_that_falls_silent_in_the_middle_of_a_message_is_left() {
    // While it is asked what it has, and while it is told goodbye.
    for (silent_at, stop_after, stall_timeout_s) in [("DESCRIBE", "DESCRIBE", 1.0), ("TEARDOWN", "PLAY", 60.0)] {
        let (address, asked) = camera(silent_at);
        let config = SourceConfig { stall_timeout_s, ..SourceConfig::rtsp(format!("rtsp://{address}/")) };
        let pipeline = Description::of(&config).unwrap().build(&config).unwrap().pipeline;
        pipeline.set_state(gst::State::Playing).unwrap();
        while asked.recv_timeout(Duration::from_secs(60)).unwrap() != stop_after {}
        let (calls, start) = (calls(), Instant::now());
        let stopped = stop(&pipeline, &calls);
        assert_eq!((stopped, calls.hanging()), (true, 0), "{silent_at}: {:?}", start.elapsed());
    }
}
