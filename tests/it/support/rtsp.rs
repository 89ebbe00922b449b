//! An RTSP server in this process that can be killed and started again on the same port.

use std::{
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use gstreamer as gst;
use gstreamer::{glib, prelude::*};
use gstreamer_app::{AppSrc, AppSrcCallbacks};
use gstreamer_rtsp_server::{RTSPFilterResult, RTSPMediaFactory, RTSPServer, gio, prelude::*};

use super::scene::Scene;

/// One camera of the server: the path it is mounted at and what it shows.
#[derive(Clone)]
pub struct Mount {
    path: &'static str,
    shows: Shows,
    /// Frames after which a connection gets nothing more of a scene, though it stays open.
    falls_silent_after: Option<u64>,
    /// All clients see the same; the last one to leave ends it, whatever state it was in.
    shared: bool,
}

#[derive(Clone)]
enum Shows {
    /// A drawn scene, live, over and over.
    Scene(Scene),
    /// A video file, at its own pace, once.
    Film(PathBuf),
}

impl Mount {
    /// A camera at `path` (`/name`) that plays `scene` for ever.
    pub fn new(path: &'static str, scene: Scene) -> Self {
        Self { path, shows: Shows::Scene(scene), falls_silent_after: None, shared: true }
    }

    /// A camera at `path` that plays the video file `film` from its start and closes at its end.
    pub fn film(path: &'static str, film: &Path) -> Self {
        Self { path, shows: Shows::Film(film.to_owned()), falls_silent_after: None, shared: true }
    }

    /// The camera stops sending after `frames` frames, without closing the connection.
    pub fn falls_silent_after(mut self, frames: u64) -> Self {
        self.falls_silent_after = Some(frames);
        self
    }

    /// Each client gets a film of its own, from its start.
    pub fn anew(mut self) -> Self {
        self.shared = false;
        self
    }

    fn factory(&self) -> RTSPMediaFactory {
        let factory = RTSPMediaFactory::new();
        let source = match &self.shows {
            Shows::Scene(_) => {
                "appsrc name=draw format=time is-live=true max-buffers=2 ! identity sync=true".to_owned()
            }
            Shows::Film(film) => format!("filesrc location=\"{}\" ! decodebin", film.display()),
        };
        factory.set_launch(&format!(
            "( {source} ! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast \
             quantizer=20 pass=quant key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=-1 )",
        ));
        factory.set_shared(self.shared);
        let Shows::Scene(scene) = self.shows else { return factory };
        let limit = self.falls_silent_after.unwrap_or(u64::MAX);
        factory.connect_media_configure(move |_, media| {
            let bin = media.element().downcast::<gst::Bin>().unwrap();
            let draw = bin.by_name("draw").unwrap().downcast::<AppSrc>().unwrap();
            draw.set_caps(Some(&scene.caps()));
            let next = AtomicU64::new(0);
            let feed = move |draw: &AppSrc, _| {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i < limit {
                    let mut buffer = scene.buffer(i % scene.frames);
                    buffer.get_mut().unwrap().set_pts(scene.pts(i));
                    let _ = draw.push_buffer(buffer);
                }
            };
            draw.set_callbacks(AppSrcCallbacks::builder().need_data(feed).build());
        });
        factory
    }
}

/// A running server. Dropping it kills it: connections are closed and the port is free again.
pub struct RtspServer {
    port: u16,
    context: glib::MainContext,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl RtspServer {
    /// Serves `mounts` on a free port of the loopback interface.
    pub fn start(mounts: &[Mount]) -> Self {
        Self::start_at(0, mounts)
    }

    /// Serves `mounts` on `port`.
    pub fn start_at(port: u16, mounts: &[Mount]) -> Self {
        gst::init().unwrap();
        static QUIET: Once = Once::new();
        // The server of GStreamer goes on reading from a client that was cut off with much on its way, and GLib says so
        // a hundred thousand times a second until the server ends: a log of gigabytes.
        QUIET.call_once(|| {
            glib::log_set_handler(Some("GLib-GIO"), glib::LogLevels::LEVEL_CRITICAL, false, false, |_, _, _| {});
        });
        Self::serve(port, mounts.iter().map(|mount| (mount.path, mount.factory())).collect())
    }

    /// Serves whatever the factories make, each at its path, on `port`. GStreamer must have been initialised.
    pub fn serve(port: u16, cameras: Vec<(&'static str, RTSPMediaFactory)>) -> Self {
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let (tell, started) = mpsc::sync_channel(1);
        let (own_context, own_loop) = (context.clone(), main_loop.clone());
        let serve = move || {
            let server = RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service(&port.to_string());
            let points = server.mount_points().unwrap();
            for (path, factory) in cameras {
                points.add_factory(path, factory);
            }
            let source = server.create_source(gio::Cancellable::NONE).unwrap();
            source.attach(Some(&own_context));
            tell.send(server.bound_port() as u16).unwrap();
            own_loop.run();
            source.destroy();
            server.client_filter(Some(&mut |_, _| RTSPFilterResult::Remove));
            if let Some(pool) = server.session_pool() {
                pool.filter(Some(&mut |_, _| RTSPFilterResult::Remove));
            }
        };
        let thread = thread::spawn(serve);
        let port = started.recv().unwrap();
        Self { port, context, main_loop, thread: Some(thread) }
    }

    /// The port of the loopback interface that it serves on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the camera at `path`.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }

    /// Kills the server, and its clients' connections with it; says which port it had.
    pub fn kill(self) -> u16 {
        self.port
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        // Asked from inside the loop, so that a loop that is only about to start also hears it.
        let main_loop = self.main_loop.clone();
        self.context.invoke(move || main_loop.quit());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
