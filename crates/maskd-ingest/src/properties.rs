//! Sets an element's properties from configuration values, through the property interface and with every check it offers;
//! and reads text out of them.

use gstreamer as gst;
use gstreamer::{
    glib::{
        self, gobject_ffi,
        translate::{ToGlibPtr as _, from_glib_none},
    },
    prelude::*,
};

use maskd_observability::redact::is_secret;

/// Sets `element.name = value`. The error says what is wrong with the name or the value, without the value of a secret.
pub(super) fn set(element: &gst::Element, name: &str, value: &toml::Value) -> Result<(), String> {
    let factory = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
    let Some(spec) = element.find_property(name) else {
        return Err(format!("{factory} has no such property: `gst-inspect-1.0 {factory}` lists them"));
    };
    let flags = spec.flags();
    if !flags.contains(glib::ParamFlags::WRITABLE) || flags.contains(glib::ParamFlags::CONSTRUCT_ONLY) || name == "name"
    {
        return Err(format!("{factory} does not let it be set"));
    }
    let said = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        _ => return Err("say a string, a number, true or false".to_owned()),
    };
    // `rtspsrc` ends the process over a proxy with both a scheme and a login, since it takes the scheme's colon for the one
    // after the user; and a password with an @ in it becomes part of the host that it asks for.
    if factory == "rtspsrc"
        && name == "proxy"
        && let Some((proxy, user, password)) = split_proxy_login(&said)
    {
        element.set_property("proxy-id", user);
        element.set_property("proxy-pw", password);
        return set(element, name, &toml::Value::String(proxy));
    }
    let shown = if is_secret(name) { "the value" } else { &said };
    let wrong = || format!("{shown:?} is no {}: see `gst-inspect-1.0 {factory}`", spec.value_type());
    // A string is taken as it is: GStreamer's reader would interpret quotes and backslashes in it.
    let parsed = if spec.value_type() == glib::Type::STRING {
        said.to_value()
    } else {
        glib::Value::deserialize_with_pspec(&said, &spec).map_err(|_| wrong())?
    };
    // GObject would leave the old value in place and say so on stderr only.
    if let Some(range) = out_of_range(&spec, &parsed) {
        return Err(format!("{shown} is out of range: {range}"));
    }
    let before = text(element, name);
    element.set_property_from_value(name, &parsed);
    // Some elements refuse text without an error, and keep the value before, which may be an address of another host.
    let readable = spec.value_type() == glib::Type::STRING && flags.contains(glib::ParamFlags::READABLE);
    if readable && !said.is_empty() {
        let after = text(element, name);
        if after == before && after.as_deref() != Some(said.as_str()) {
            return Err(format!("{factory} does not take this value: see `gst-inspect-1.0 {factory}`"));
        }
    }
    Ok(())
}

/// An address of a proxy without its login, and the login; `None` where it holds none.
fn split_proxy_login(address: &str) -> Option<(String, &str, Option<&str>)> {
    let (scheme, rest) = address.find("://").map_or(("", address), |at| address.split_at(at + 3));
    let (login, host) = rest.rsplit_once('@')?;
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    Some((format!("{scheme}{host}"), user, password))
}

/// The text that a property holds; `None` where it holds none, or where the element has no such property.
pub(super) fn text(element: &gst::Element, name: &str) -> Option<String> {
    let spec = element.find_property(name)?;
    let readable = spec.flags().contains(glib::ParamFlags::READABLE);
    readable.then(|| text_of(&element.property_value(name))).flatten()
}

/// The text in a value; `None` where it is none. What is no UTF-8 is replaced: what a camera has sent may be anything, and
/// the usual ways to text in a value take for granted that it is UTF-8.
pub(super) fn text_of(value: &glib::Value) -> Option<String> {
    if value.type_() != glib::Type::STRING {
        return None;
    }
    // SAFETY: the value is a string, borrowed for this call; it may be null, and is copied with a check of its bytes.
    unsafe { from_glib_none(gobject_ffi::g_value_get_string(value.to_glib_none().0)) }
}

/// The range that `value` is outside of.
fn out_of_range(spec: &glib::ParamSpec, value: &glib::Value) -> Option<String> {
    macro_rules! check {
        ($($spec:ty => $number:ty),*) => {$(
            if let (Some(spec), Ok(value)) = (spec.downcast_ref::<$spec>(), value.get::<$number>()) {
                let (low, high) = (spec.minimum(), spec.maximum());
                return (value < low || value > high).then(|| format!("{low} to {high}"));
            }
        )*};
    }
    check!(
        glib::ParamSpecInt => i32, glib::ParamSpecUInt => u32,
        glib::ParamSpecInt64 => i64, glib::ParamSpecUInt64 => u64,
        glib::ParamSpecFloat => f32, glib::ParamSpecDouble => f64
    );
    None
}

/// Sets a property where this version of the element has it.
pub(super) fn set_if_there(element: &gst::Element, name: &str, value: &str) {
    if element.find_property(name).is_some() {
        let _ = set(element, name, &toml::Value::String(value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_with_a_login_is_taken() {
        gst::init().unwrap();
        for (given, proxy, user, password) in [
            ("http://u:pw@proxy:3128", "proxy:3128", Some("u"), Some("pw")),
            ("u:p@w@proxy:1", "proxy:1", Some("u"), Some("p@w")),
            ("http://u@proxy:1", "proxy:1", Some("u"), None),
            ("http://proxy:80", "proxy:80", None, None),
        ] {
            let element = gst::ElementFactory::make("rtspsrc").build().unwrap();
            set(&element, "proxy", &toml::Value::String(given.to_owned())).unwrap();
            let set = ["proxy", "proxy-id", "proxy-pw"].map(|name| text(&element, name));
            assert_eq!(set.each_ref().map(Option::as_deref), [Some(proxy), user, password], "{given}");
        }
    }

    #[test]
    fn good_values_are_set_and_bad_ones_refused_by_name() {
        gst::init().unwrap();
        let element = gst::ElementFactory::make("videotestsrc").build().unwrap();
        let text = |text: &str| toml::Value::String(text.to_owned());
        set(&element, "pattern", &text("snow")).unwrap();
        set(&element, "num-buffers", &toml::Value::Integer(7)).unwrap();
        set(&element, "is-live", &toml::Value::Boolean(true)).unwrap();
        assert_eq!(element.property::<i32>("num-buffers"), 7);
        assert!(element.property::<bool>("is-live"));
        for (name, value, said) in [
            ("colour", text("red"), "no such property"),
            ("pattern", text("tartan"), "tartan"),
            ("num-buffers", text("many"), "many"),
            ("num-buffers", toml::Value::Integer(-7), "out of range"),
            ("num-buffers", toml::Value::Integer(1 << 40), "1099511627776"),
            ("num-buffers", toml::Value::Array(Vec::new()), "number"),
            ("name", text("other"), "set"),
        ] {
            let error = set(&element, name, &value).unwrap_err();
            assert!(error.contains(said), "{name}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
        assert_eq!(element.property::<i32>("num-buffers"), 7);
    }

    #[test]
    fn strings_are_taken_literally_and_secrets_not_shown() {
        gst::init().unwrap();
        let element = gst::ElementFactory::make("filesrc").build().unwrap();
        let odd = "/tmp/a \"b\" ! fakesink \\ c";
        set(&element, "location", &toml::Value::String(odd.to_owned())).unwrap();
        assert_eq!(element.property::<String>("location"), odd);
        if let Ok(element) = gst::ElementFactory::make("rtspsrc").build() {
            let error = set(&element, "user-pw", &toml::Value::Array(vec!["hunter2".into()])).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn text_that_an_element_does_not_take_is_refused() {
        gst::init().unwrap();
        let element = gst::ElementFactory::make("rtspsrc").property("location", "rtsp://other/").build().unwrap();
        for odd in ["rtsp://[::1/x?token=hunter2", "cam", "http://cam/"] {
            let error = set(&element, "location", &odd.into()).unwrap_err();
            assert!(error.contains("does not take") && !error.contains("hunter2"), "{odd}: {error}");
        }
        for good in ["rtsp://cam/", "rtsp://cam/", "rtsp://[::1]/x"] {
            set(&element, "location", &good.into()).unwrap();
            assert_eq!(text(&element, "location").as_deref(), Some(good));
        }
        // What is read back in another form was taken.
        set(&element, "proxy", &"http://proxy".into()).unwrap();
        assert_eq!(text(&element, "nothing-like-this"), None);
        assert_eq!(text(&element, "latency"), None);
    }
}
