//! Where a camera may send us, and that the configured login goes nowhere but to the configured host, port and scheme.
//!
//! `rtspsrc` follows redirects without end, and gives its login to whoever asks for one. It can be watched from two sides:
//! it posts a message before each connection and emits `before-send` before each request, both in the thread that goes on
//! to do it. A redirect has changed its `location` by then, so nothing has been said to the new place yet.

use std::{mem, sync::Arc};

use gstreamer as gst;
use gstreamer::{glib, prelude::*};
use parking_lot::{Mutex, MutexGuard};

use super::{
    address::{Login, Place, split_login},
    fault::{CameraFault, Cause},
    properties::{set_if_there, text, text_of},
};

/// Redirects that one pipeline follows.
const MOST_REDIRECTS: u32 = 3;

/// What the user can do about a redirect that is not followed.
const REMEDY: &str = "put that address into `location` if it is yours";

/// Watches over every source of a pipeline that could carry a login elsewhere. A handle is cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Guard(Arc<Mutex<Vec<Watched>>>);

/// One `rtspsrc`, which belongs to its pipeline, and its way so far.
type Watched = (glib::WeakRef<gst::Element>, Arc<Mutex<Route>>);

/// The way that one `rtspsrc` has gone.
#[derive(Default)]
struct Route {
    /// The configured place; `None` before anything was done, or where it cannot be told.
    home: Option<Place>,
    /// Its property `location` as last seen.
    seen: Option<String>,
    /// A description of the media came, and nothing was sent since.
    described: bool,
    /// Something was sent since it last connected.
    asked: bool,
    redirects: u32,
    /// The other place that it was redirected to. It has no login any more, and gets none back.
    away: Option<Place>,
    /// Why nothing more is sent.
    refused: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// Whether this is the element that the rules here are for.
pub(super) fn is_rtspsrc(element: &gst::Element) -> bool {
    element.factory().is_some_and(|factory| factory.name() == "rtspsrc")
}

/// Gives `login` to an `rtspsrc`, except for what it has been given already.
pub(super) fn log_in(source: &gst::Element, login: Login) {
    match login.password {
        Some(password) if text(source, "user-pw").is_none() => {
            source.set_property("user-id", login.user);
            source.set_property("user-pw", password);
        }
        _ if text(source, "user-id").is_none() => source.set_property("user-id", login.user),
        _ => {}
    }
}

impl Guard {
    /// Watches the elements of a pipeline that is built but not started, and those that come into it later.
    pub(super) fn over(pipeline: &gst::Pipeline) -> Self {
        let guard = Self::default();
        for element in pipeline.iterate_recurse().into_iter().filter_map(Result::ok) {
            guard.watch(&element);
        }
        let later = guard.clone();
        pipeline.connect_deep_element_added(move |_, _, element| later.watch(element));
        guard
    }

    fn watch(&self, element: &gst::Element) {
        if is_rtspsrc(element) {
            self.watch_rtsp(element);
        } else if text(element, "user-id").is_some() {
            // An HTTP source would log in wherever it was sent, and does not say that it was.
            set_if_there(element, "automatic-redirect", "false");
        }
    }

    fn watch_rtsp(&self, source: &gst::Element) {
        // A login in the address is lost with the first redirect, even to the same host. As properties it stays, as long as
        // it may.
        if let Some((login, bare)) = text(source, "location").as_deref().and_then(split_login) {
            source.set_property("location", bare);
            log_in(source, login);
        }
        if text(source, "user-id").is_some() {
            // RTSP in HTTP is two connections, and the answer on the first could name another host for the second.
            set_if_there(source, "ignore-x-server-reply", "true");
        }
        let route = Arc::new(Mutex::new(Route::default()));
        let (described, asked) = (route.clone(), route.clone());
        source.connect("on-sdp", false, move |_| {
            lock(&described).described = true;
            None
        });
        source.connect("before-send", false, move |values| {
            let source = values.first().and_then(|value| value.get::<gst::Element>().ok());
            Some(source.is_some_and(|source| may_send(&source, &asked)).to_value())
        });
        lock(&self.0).push((source.downgrade(), route));
    }

    fn route(&self, source: Option<&gst::Object>) -> Option<(gst::Element, Arc<Mutex<Route>>)> {
        let source = source?.downcast_ref::<gst::Element>()?;
        let watched = lock(&self.0);
        let (_, route) = watched.iter().find(|(watched, _)| watched.upgrade().as_ref() == Some(source))?;
        Some((source.clone(), route.clone()))
    }

    /// Takes note of a message that a source posts while it works, in the thread that posts it.
    pub(super) fn hear(&self, progress: &gst::message::Progress) {
        // Not by `get`: beside the code there is an address, and a camera may have sent us to what is no UTF-8.
        let code = progress.structure().and_then(|parts| text_of(parts.value("code").ok()?));
        if code.as_deref() == Some("connect")
            && let Some((source, route)) = self.route(progress.src())
        {
            lock(&route).connects(&source);
        }
    }

    /// What `fault` of the element `source` means where redirects have led to it.
    pub(super) fn explain(&self, source: Option<&gst::Object>, fault: CameraFault) -> CameraFault {
        let Some((_, route)) = self.route(source) else { return fault };
        let route = lock(&route);
        match (&route.refused, &route.away) {
            (Some(why), _) => CameraFault::new(Cause::Unreachable, why),
            (None, Some(away)) if fault.cause == Cause::Refused => CameraFault::new(
                fault.cause,
                format!("the camera sends us to {away}, which asks for a login: {REMEDY}"),
            ),
            (None, Some(away)) => {
                CameraFault::new(fault.cause, format!("the camera sends us to {away}: {}", fault.detail))
            }
            (None, None) => fault,
        }
    }
}

/// Whether an `rtspsrc` may send its next request. One that may not fails.
fn may_send(source: &gst::Element, route: &Mutex<Route>) -> bool {
    let refused = {
        let mut route = lock(route);
        route.look(source);
        route.asked = true;
        route.refused.clone()
    };
    // Whoever hears it looks at the route too: posted when that is free again.
    if let Some(why) = &refused {
        gst::element_error!(source, gst::ResourceError::OpenRead, ("{why}"));
    }
    refused.is_none()
}

impl Route {
    /// A connection is about to be made: the first, or after a redirect.
    fn connects(&mut self, source: &gst::Element) {
        self.look(source);
        // A tunnel that is asked for a login connects again, with nothing sent between.
        if !mem::take(&mut self.asked) {
            return;
        }
        self.redirects += 1;
        if self.redirects > MOST_REDIRECTS && self.refused.is_none() {
            let to = self.away.as_ref().or(self.home.as_ref()).map(|place| format!(" to {place}")).unwrap_or_default();
            let most = MOST_REDIRECTS;
            self.refused = Some(format!("the camera sends us on{to}, after {most} redirects: check its address"));
        }
    }

    /// Sees whether the source was sent elsewhere since the last look.
    fn look(&mut self, source: &gst::Element) {
        let address = text(source, "location");
        // A description of the media may name an address to ask at. It takes the place of `location`, but is asked for over
        // the connection that there is, and forgotten with it.
        let described = mem::take(&mut self.described);
        if address == self.seen {
            return;
        }
        let first = self.seen.is_none();
        self.seen = address;
        let address = self.seen.clone().unwrap_or_default();
        if first {
            self.home = Place::of(&address);
        } else if !described {
            self.sent_to(&address, source);
        }
    }

    fn sent_to(&mut self, address: &str, source: &gst::Element) {
        let without_login = split_login(address).map(|(_, bare)| bare);
        let place = Place::of(without_login.as_deref().unwrap_or(address));
        if without_login.is_none() && place.is_some() && place == self.home {
            return;
        }
        for secret in ["user-id", "user-pw"] {
            source.set_property(secret, None::<&str>);
        }
        match (place, &self.home) {
            (Some(place), Some(home)) if place.same_scheme(home) => self.away = Some(place),
            (Some(place), _) => {
                let why = format!("the camera sends us to {place}, which is another scheme than its own: {REMEDY}");
                self.refused = Some(why);
            }
            (None, _) => self.refused = Some("the camera sends us to what is no RTSP address: check it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(text: &str) -> (gst::Pipeline, gst::Element) {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!("{text} ! fakesink")).unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("source").unwrap();
        (pipeline, source)
    }

    #[test]
    fn a_login_moves_out_of_the_address_wherever_the_source_is() {
        let (inside, source) = pipeline("rtspsrc name=source location=rtsp://me:P@ss%20w@cam/1");
        let _guard = Guard::over(&inside);
        // As it comes into a pipeline that plays, in a bin of an element's own.
        let (later, bin) = (gst::Pipeline::new(), gst::Bin::new());
        let _later = Guard::over(&later);
        later.add(&bin).unwrap();
        let made =
            gst::ElementFactory::make("rtspsrc").property("location", "rtsp://me:P@ss%20w@cam/1").build().unwrap();
        bin.add(&made).unwrap();
        for source in [source, made] {
            assert_eq!(text(&source, "location").as_deref(), Some("rtsp://cam/1"));
            assert_eq!(text(&source, "user-id").as_deref(), Some("me"));
            assert_eq!(text(&source, "user-pw").as_deref(), Some("P@ss w"));
            assert!(source.property::<bool>("ignore-x-server-reply"));
        }
    }

    #[test]
    fn what_was_given_is_not_replaced() {
        for (given, user, password) in [
            ("user-id=you user-pw=own location=rtsp://me:x@cam/1", "you", Some("own")),
            ("user-pw=own location=rtsp://me:x@cam/1", "me", Some("own")),
            ("user-id=you location=rtsp://me:x@cam/1", "me", Some("x")),
            ("user-id=you location=rtsp://me@cam/1", "you", None),
        ] {
            let (pipeline, source) = pipeline(&format!("rtspsrc name=source {given}"));
            let _guard = Guard::over(&pipeline);
            assert_eq!(text(&source, "user-id").as_deref(), Some(user), "{given}");
            assert_eq!(text(&source, "user-pw").as_deref(), password, "{given}");
        }
    }

    #[test]
    fn only_the_configured_place_leaves_the_login_and_only_its_scheme_is_followed() {
        let home = |secure: bool| if secure { "rtsps://cam:1/a" } else { "rtsp://cam:1/a" };
        for (secure, to, keeps, goes) in [
            (false, "rtsp://cam:1/b", true, true),
            (false, "rtspt://CAM:1?b", true, true),
            (false, "rtsp://me:x@cam:1/b", false, true),
            (false, "rtsp://cam:2/a", false, true),
            (false, "rtsp://other:1/a", false, true),
            (false, "rtsp://cam:1:2/a", false, false),
            (false, "rtsps://cam:1/a", false, false),
            (true, "rtsp://cam:1/a", false, false),
            (true, "rtsps://other:1/a", false, true),
            (false, "rtsp-sdp://v=0", false, false),
        ] {
            let (_pipeline, source) = pipeline("rtspsrc name=source user-id=me user-pw=x");
            source.set_property("location", home(secure));
            let mut route = Route::default();
            route.look(&source);
            route.sent_to(to, &source);
            assert_eq!(text(&source, "user-pw").is_some(), keeps, "{to}");
            assert_eq!(text(&source, "user-id").is_some(), keeps, "{to}");
            assert_eq!(route.refused.is_none(), goes, "{to}");
            assert_eq!(route.away.is_some(), goes && !keeps, "{to}");
        }
    }

    #[test]
    fn an_http_source_with_a_login_follows_no_redirect() {
        gst::init().unwrap();
        if gst::ElementFactory::find("souphttpsrc").is_none() {
            return eprintln!("skipped: no souphttpsrc on this machine");
        }
        for (given, follows) in [("user-id=me user-pw=x", false), ("", true)] {
            let (pipeline, source) = pipeline(&format!("souphttpsrc name=source {given}"));
            let _guard = Guard::over(&pipeline);
            assert_eq!(source.property::<bool>("automatic-redirect"), follows);
        }
    }
}
