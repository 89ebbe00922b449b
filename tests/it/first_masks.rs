//! A first mask in a running daemon: followed, or refused where everybody can see it, and never ignored unsaid.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use maskd::{
    frame::Size,
    instance::InstanceId,
    mask::LabelMap,
    publish::{Received, wire::Event},
};

use crate::{
    reload::Edge,
    support::{listener, until},
};

/// Size of the test picture.
const PICTURE: Size = Size::new(640, 480);

/// What was heard last of the only stream.
#[derive(Default)]
struct Heard {
    instances: Option<Vec<InstanceId>>,
    reason: Option<String>,
    refused: Vec<String>,
}

fn listen(endpoint: &str) -> Arc<Mutex<Heard>> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let into = heard.clone();
    listener::listen(endpoint, move |received| {
        let mut into = into.lock().unwrap();
        match received {
            Received::Masks { message, .. } => {
                into.instances = Some(message.instances.iter().map(|instance| instance.id).collect());
            }
            Received::Status(message) => into.reason = message.status.reason,
            Received::Event(message) => {
                if let Event::FirstMaskRefused { cause } = message.event {
                    into.refused.push(cause);
                }
            }
            _ => {}
        }
        true
    });
    heard
}

/// A mask whose upper left quarter has `value`, as a grey picture.
fn grey(path: &Path, size: Size, value: u8) {
    let quarter = |x, y| if x < size.width / 2 && y < size.height / 2 { value } else { 0 };
    image::GrayImage::from_fn(size.width, size.height, |x, y| image::Luma([quarter(x, y)])).save(path).unwrap();
}

fn stream(mask: &Path, more: &str) -> String {
    // A still picture of rings: even random weights find each patch again.
    format!(
        "[streams.a]\nkind = 'test'\nfirst_mask = '{}'\n{more}[streams.a.properties]\nsource = {{ pattern = 'circular' }}\n\
         [tracker]\ndiscovery = false\n",
        mask.display()
    )
}

#[test]
fn the_usual_binary_mask_is_one_instance_and_goes_on_through_a_reload() {
    let mask = |home: &Path| home.join("mask.png");
    let it = Edge::with("reload_on_change = false", |home| {
        grey(&mask(home), PICTURE, 255);
        stream(&mask(home), "")
    });
    let heard = listen(&it.daemon.endpoint());
    let follows = |id| heard.lock().unwrap().instances.as_deref() == Some(&[id]);
    until("the mask's instance", || follows(1).then_some(()));

    // Another setting, the same mask: it has had its frame, and that is said.
    it.rewrite(&stream(&mask(it.home.path()), "retry_max_s = 1\n"));
    it.hang_up("first_mask is the one that was used before");
    it.flows("a", 5);
    // Whether the network finds it again after the restart is not the question here: nothing is begun anew.
    let begun_anew = |ids: &Vec<InstanceId>| ids.iter().any(|id| *id != 1);
    assert!(!heard.lock().unwrap().instances.as_ref().is_some_and(begun_anew), "the old mask was used again");

    // The same name, another mask: the stream starts from it.
    std::fs::remove_file(mask(it.home.path())).unwrap();
    LabelMap { size: PICTURE, labels: vec![7; PICTURE.area()] }.write_png(&mask(it.home.path())).unwrap();
    it.hang_up("the configuration was read again");
    until("another instance", || (heard.lock().unwrap().instances.as_ref()?.first()? > &1).then_some(()));
    it.stop();
}

#[test]
fn a_mask_that_does_not_fit_is_told_in_log_event_and_status_until_one_fits() {
    let mask = |home: &Path| home.join("mask.png");
    let it = Edge::with("reload_on_change = false", |home| {
        grey(&mask(home), Size::new(80, 60), 255);
        stream(&mask(home), "")
    });
    let heard = listen(&it.daemon.endpoint());
    let words = "mask.png: it is 80x60, the pictures are 640x480; draw it at their size";
    until("the status", || heard.lock().unwrap().reason.as_ref()?.contains(words).then_some(()));
    // The log has a thread of its own, and may come after the status.
    let line = format!("first_mask is not used: {}", it.home.path().display());
    until("the line in the log", || (it.log_lines(&line) == 1).then_some(()));
    let ready = it.ready();
    assert!(ready["streams"]["a"]["up"] == true, "{ready}");

    grey(&mask(it.home.path()), Size::new(40, 60), 255);
    it.hang_up("first_mask is not used");
    until("the event", || heard.lock().unwrap().refused.iter().any(|why| why.contains("it is 40x60")).then_some(()));

    // What marks nothing is refused whole, and the stream goes on.
    grey(&mask(it.home.path()), PICTURE, 0);
    it.hang_up("mask.png: it marks nothing, every pixel is background");
    it.flows("a", 3);

    grey(&mask(it.home.path()), PICTURE, 255);
    it.daemon.signal("HUP");
    until("the mask's instance", || (heard.lock().unwrap().instances.as_ref()?.len() == 1).then_some(()));
    until("a status without complaint", || heard.lock().unwrap().reason.is_none().then_some(()));
    it.stop();
}
