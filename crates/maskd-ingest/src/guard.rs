//! What is decoded opens nothing else.
//!
//! A file that is called a video can be a list of addresses (HLS, DASH, Smooth Streaming, SDP, an editing project), and a
//! stream can carry one. GStreamer's decodebin knows elements that would fetch what such a list names, from any host that
//! this machine reaches and from its own disk. In the shipped pipelines and for clips none of them is let in. A pipeline of
//! the user's own is not guarded: it names its elements itself.

use gstreamer as gst;
use gstreamer::{
    glib::{EnumClass, Type, Value, subclass::SignalId},
    prelude::*,
};

/// Forms of lists that GStreamer tells by their content, and what people call them.
const LISTS: [(&str, &str); 6] = [
    ("application/dash+xml", "DASH"),
    ("application/sdp", "SDP"),
    ("application/vnd.ms-sstr+xml", "Smooth Streaming"),
    ("application/x-hls", "HLS"),
    ("application/xges", "an editing project"),
    ("text/uri-list", "one in each line"),
];

/// decodebin asks here whether it may use an element.
const ASKS: &str = "autoplug-select";
/// decodebin says here that it has no element for what it met.
const KNOWS_NONE: &str = "unknown-type";

/// Guards every decodebin of a pipeline that has not started. What would open other places is an error on the bus.
///
/// # Errors
/// A decodebin whose choice of elements cannot be guarded: it must not run then.
pub(super) fn guard(pipeline: &gst::Pipeline) -> Result<(), String> {
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        watch(&element)?;
    }
    // What decodebin chose is made of other elements, some of which choose for themselves.
    pipeline.connect_deep_element_added(|_, bin, element| {
        let opener = element.factory().filter(|factory| is_within_a_decodebin(bin) && opens_more(factory));
        let told = match opener {
            Some(opener) => Err(format!("it would have {} open other places", opener.name())),
            None => watch(element),
        };
        if let Err(why) = told {
            refuse(element, &why);
        }
    });
    Ok(())
}

/// Guards the choices of an element that makes any.
fn watch(element: &gst::Element) -> Result<(), String> {
    let Some(asks) = SignalId::lookup(ASKS, element.type_()) else { return Ok(()) };
    let answers = EnumClass::with_type(Type::from(asks.query().return_type()));
    let answer = |answers: &EnumClass, go_on: bool| answers.to_value_by_nick(if go_on { "try" } else { "skip" });
    let answers = answers.filter(|answers| answer(answers, true).is_some() && answer(answers, false).is_some());
    let Some(answers) = answers else { return Err(format!("{}: its choices cannot be guarded", element.name())) };
    // (decodebin, pad, caps, factory)
    element.connect(ASKS, false, move |values| {
        let factory = values.get(3).and_then(|value| value.get::<gst::ElementFactory>().ok());
        let go_on = factory.is_some_and(|factory| !opens_more(&factory));
        if !go_on {
            tell(values, "it names other places to be opened");
        }
        answer(&answers, go_on)
    });
    if SignalId::lookup(KNOWS_NONE, element.type_()).is_some() {
        // (decodebin, pad, caps)
        element.connect(KNOWS_NONE, false, |values| {
            if list_in(values).is_some() {
                tell(values, "");
            }
            None
        });
    }
    Ok(())
}

/// What people call the list that a signal's caps are.
fn list_in(values: &[Value]) -> Option<&'static str> {
    let caps = values.get(2)?.get::<gst::Caps>().ok()?;
    let name = caps.structure(0)?.name();
    LISTS.iter().find(|(form, _)| name == *form).map(|(_, called)| *called)
}

/// Refuses what a signal is about, in words of its own where it is a list.
fn tell(values: &[Value], otherwise: &str) {
    let Some(decodebin) = values.first().and_then(|value| value.get::<gst::Element>().ok()) else { return };
    match list_in(values) {
        Some(called) => refuse(&decodebin, &format!("it is a list of addresses ({called}), not a video")),
        None => refuse(&decodebin, otherwise),
    }
}

fn refuse(element: &gst::Element, why: &str) {
    let text = format!("{why}: maskd does not fetch what is named in a video");
    let _ = element.post_message(gst::message::Error::new(gst::StreamError::WrongType, &text));
}

fn is_within_a_decodebin(bin: &gst::Bin) -> bool {
    let parents = std::iter::successors(Some(bin.clone().upcast::<gst::Object>()), |object| object.parent());
    parents.into_iter().any(|object| SignalId::lookup(ASKS, object.type_()).is_some())
}

/// Whether elements of this kind open places that a stream names, or any at all.
fn opens_more(factory: &gst::ElementFactory) -> bool {
    let class = factory.metadata("klass").unwrap_or_default();
    let is = |part: &str| class.split('/').any(|p| p == part);
    let lists = is("Adaptive") || is("Editing") || (is("Demuxer") && is("Network"));
    lists || is("Source") || factory.uri_type() != gst::URIType::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_places_is_told_from_what_decodes() {
        gst::init().unwrap();
        let there = |names: &[&str]| -> Vec<_> {
            let found = names.iter().filter_map(|name| gst::ElementFactory::find(name));
            found.map(|factory| (factory.name().to_string(), opens_more(&factory))).collect()
        };
        let open = there(&[
            "dashdemux",
            "dashdemux2",
            "filesrc",
            "gesdemux",
            "giosrc",
            "hlsdemux",
            "hlsdemux2",
            "imagesequencesrc",
            "mssdemux",
            "mssdemux2",
            "multifilesrc",
            "rtspsrc",
            "sdpdemux",
            "souphttpsrc",
            "udpsrc",
            "urisourcebin",
        ]);
        assert!(open.len() > 4 && open.iter().all(|(_, opens)| *opens), "{open:?}");
        let decode = there(&[
            "avdec_h264",
            "capsfilter",
            "h264parse",
            "id3demux",
            "jpegdec",
            "matroskademux",
            "multiqueue",
            "qtdemux",
            "rtph264depay",
            "rtpmp2tdepay",
            "tsdemux",
            "typefind",
            "vp9dec",
        ]);
        assert!(decode.len() > 4 && decode.iter().all(|(_, opens)| !opens), "{decode:?}");
    }

    #[test]
    fn an_element_that_opens_places_inside_of_a_decodebin_is_an_error() {
        gst::init().unwrap();
        let make = |name: &str| gst::ElementFactory::make(name).build().unwrap();
        let (pipeline, decodebin, outside) = (gst::Pipeline::new(), make("decodebin"), make("filesrc"));
        pipeline.add(&decodebin).unwrap();
        guard(&pipeline).unwrap();
        let error = || pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
        pipeline.add(&outside).unwrap();
        decodebin.downcast_ref::<gst::Bin>().unwrap().add(&make("identity")).unwrap();
        assert!(error().is_none(), "beside it, or harmless");
        decodebin.downcast_ref::<gst::Bin>().unwrap().add(&make("filesrc")).unwrap();
        let Some(error) = error() else { panic!("a source inside of a decodebin is let in") };
        let gst::MessageView::Error(error) = error.view() else { panic!("{error:?}") };
        assert!(error.error().message().contains("filesrc"), "{error:?}");
    }
}
