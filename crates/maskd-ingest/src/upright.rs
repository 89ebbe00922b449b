//! Turned pictures: a stream may say (`image-orientation`: a container's rotation, EXIF, an H.264 message) that it is to be
//! shown turned or mirrored. The element `turn` of a pipeline, a videoflip, does so as the stream says.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_base::{BaseTransform, prelude::BaseTransformExt};
use gstreamer_video::VideoOrientationMethod;

/// Lets upright pictures pass untouched. From 1.22 on, videoflip would copy each one until it has had something to turn.
pub(super) fn spare_copies(pipeline: &gst::Pipeline) {
    let Some(turn) = pipeline.by_name("turn").and_then(|element| element.downcast::<BaseTransform>().ok()) else {
        return;
    };
    let direction = turn.find_property("video-direction").map(|_| turn.property_value("video-direction"));
    if direction.and_then(|value| value.get().ok()) == Some(VideoOrientationMethod::Auto) {
        turn.set_passthrough(true);
    }
}
