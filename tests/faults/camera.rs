//! An RTSP camera that can misbehave while it plays.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use gstreamer_rtsp_server::{RTSPMedia, RTSPMediaFactory, prelude::*};
use maskd::{frame::Size, publish::wire::unix_ns};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    film::{Clock, Film, RATE, SIZE},
    support::rtsp::RtspServer,
};

/// How the camera behaves; all but the last two can change while it plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    pub size: Size,
    /// Frames a second.
    pub fps: u32,
    /// Nothing is sent, though the connection stays open.
    pub silent: bool,
    /// What is inside of the packets means nothing.
    pub garbage: bool,
    /// Added to the timestamps of all packets, in 90,000ths of a second.
    pub shift: u32,
    /// Added to the numbers of all packets.
    pub renumber: u16,
    pub codec: Codec,
    /// Timestamps and packet numbers begin a few seconds before they wrap.
    pub wraps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
    Jpeg,
}

impl Default for Manner {
    fn default() -> Self {
        let codec = Codec::H264;
        Self { size: SIZE, fps: RATE, silent: false, garbage: false, shift: 0, renumber: 0, codec, wraps: false }
    }
}

impl Codec {
    /// From pictures to packets; a key frame each second.
    fn chain(self) -> &'static str {
        match self {
            Self::H264 => {
                "video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast quantizer=20 pass=quant \
                 key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=-1"
            }
            Self::H265 => {
                "video/x-raw,format=I420 ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=10 \
                 option-string=log-level=none:pools=1 ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1"
            }
            Self::Jpeg => "video/x-raw,format=I420 ! jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26",
        }
    }
}

/// The camera; it serves `/live` on a port of its own.
pub struct Camera {
    manner: Arc<Mutex<Manner>>,
    clock: Clock,
    port: u16,
    server: Option<RtspServer>,
}

impl Camera {
    /// A camera that shows the film by `clock`.
    pub fn start(clock: &Clock) -> Self {
        gst::init().unwrap();
        let mut camera = Self { manner: Arc::default(), clock: clock.clone(), port: 0, server: None };
        camera.switch_on();
        camera
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("rtsp://{}/live", self.address())
    }

    /// The size of its pictures.
    pub fn size(&self) -> Size {
        self.manner.lock().unwrap().size
    }

    /// Changes how it behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }

    /// Pulls its plug.
    pub fn switch_off(&mut self) {
        self.server = None;
    }

    /// Plugs it in again, at the same address.
    pub fn switch_on(&mut self) {
        let server = RtspServer::serve(self.port, vec![("/live", self.factory())]);
        self.port = server.port();
        self.server = Some(server);
    }

    fn factory(&self) -> RTSPMediaFactory {
        let factory = RTSPMediaFactory::new();
        let manner = *self.manner.lock().unwrap();
        let begins = match manner.wraps {
            true => format!("timestamp-offset={} seqnum-offset={}", u32::MAX - 5 * 90_000, u16::MAX - 100),
            false => String::new(),
        };
        factory.set_launch(&format!(
            "( appsrc name=draw format=time is-live=true do-timestamp=true max-buffers=2 leaky-type=downstream \
             ! videoconvert ! {} {begins} )",
            manner.codec.chain()
        ));
        factory.set_shared(true);
        let (manner, clock) = (self.manner.clone(), self.clock.clone());
        factory.connect_media_configure(move |_, media| configure(media, &manner, &clock));
        factory
    }
}

/// Feeds a client's pipeline, and spoils its packets, for as long as it lives.
fn configure(media: &RTSPMedia, manner: &Arc<Mutex<Manner>>, clock: &Clock) {
    let bin = media.element().downcast::<gst::Bin>().unwrap();
    let draw = bin.by_name("draw").unwrap().downcast::<AppSrc>().unwrap();
    let packets = bin.by_name("pay0").unwrap().static_pad("src").unwrap();
    let own = manner.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rng = Mutex::new(move |bytes: &mut [u8]| rng.fill(bytes));
    packets.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let manner = *own.lock().unwrap();
        let mut fill = rng.lock().unwrap();
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) => spoil(packet.make_mut(), manner, &mut *fill),
            Some(gst::PadProbeData::BufferList(packets)) => {
                let packets = packets.make_mut();
                (0..packets.len()).for_each(|i| {
                    if let Some(packet) = packets.get_mut(i) {
                        spoil(packet, manner, &mut *fill);
                    }
                });
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    let over = Arc::new(AtomicBool::new(false));
    let end = over.clone();
    media.connect_unprepared(move |_| end.store(true, Ordering::Relaxed));
    let (manner, clock) = (manner.clone(), clock.clone());
    thread::spawn(move || feed(&draw.downgrade(), &manner, &clock, &over));
}

/// Makes what a packet carries as it should not be.
fn spoil(packet: &mut gst::BufferRef, manner: Manner, fill: &mut dyn FnMut(&mut [u8])) {
    if manner.shift == 0 && manner.renumber == 0 && !manner.garbage {
        return;
    }
    let Ok(mut map) = packet.map_writable() else { return };
    let bytes = map.as_mut_slice();
    let number = u16::from_be_bytes([bytes[2], bytes[3]]).wrapping_add(manner.renumber);
    let time = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]).wrapping_add(manner.shift);
    bytes[2..4].copy_from_slice(&number.to_be_bytes());
    bytes[4..8].copy_from_slice(&time.to_be_bytes());
    if manner.garbage {
        fill(&mut bytes[12..]);
    }
}

/// Shows each picture at its time.
fn feed(draw: &gst::glib::WeakRef<AppSrc>, manner: &Mutex<Manner>, clock: &Clock, over: &AtomicBool) {
    let mut shown = None;
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let Some(draw) = draw.upgrade() else { return };
        let now = *manner.lock().unwrap();
        if !now.silent {
            let film = Film::at(now.size);
            if shown != Some(now) {
                let scene = super::support::scene::Scene { fps: now.fps, ..film.scene };
                draw.set_caps(Some(&scene.caps()));
                shown = Some(now);
            }
            // Refused while nobody plays it, and once it is torn down.
            let _ = draw.push_buffer(film.picture(clock.index(unix_ns())));
        }
        drop(draw);
        due += Duration::from_secs(1) / now.fps;
        thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
}
