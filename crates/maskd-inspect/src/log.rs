//! The log: a line of JSON for the clip, for each frame, for all that happened, and for the end.

use serde_json::{Map, Value, json};

use crate::{
    page::Facts,
    record::Who,
    seal,
    story::{Story, spoken},
};

/// The whole log.
pub fn log(facts: &Facts, story: &Story) -> Vec<u8> {
    let head = facts.lines().into_iter().map(|(name, value)| (name.replace(' ', "_").to_lowercase(), json!(value)));
    let mut lines = vec![line("clip", None, head.collect())];
    let mut records = story.records.iter().peekable();
    for measured in &story.measures {
        while let Some(record) = records.next_if(|record| record.frame <= measured.frame) {
            let who = story.about(record);
            let mut more = Map::new();
            more.insert("who".to_owned(), json!(if who == Who::Camera { "camera".to_owned() } else { spoken(who) }));
            more.insert("what".to_owned(), json!(story.words(record)));
            lines.push(line(record.what.kind(), Some((record.frame, record.seconds)), more));
        }
        let camera = &measured.camera;
        let more = json!({
            "fixed": camera.fixed,
            "same": rounded(f64::from(camera.same), 1e4),
            "shift": [rounded(f64::from(camera.shift.0), 1e2), rounded(f64::from(camera.shift.1), 1e2)],
            "foreground": rounded(f64::from(measured.foreground), 1e4),
            "instances": measured.instances,
            "candidates": measured.candidates,
        });
        lines.push(line("frame", Some((measured.frame, measured.seconds)), object(more)));
    }
    let (still, moving) = story.candidates;
    let more = json!({ "candidates_that_ended": still, "before_the_camera_was_fixed": moving, "mark": seal::blank() });
    lines.push(line("end", None, object(more)));
    let mut bytes = (lines.join("\n") + "\n").into_bytes();
    seal::close(&mut bytes);
    bytes
}

fn line(kind: &str, at: Option<(u64, f64)>, more: Map<String, Value>) -> String {
    let mut all = Map::new();
    all.insert("kind".to_owned(), json!(kind));
    if let Some((frame, seconds)) = at {
        all.insert("frame".to_owned(), json!(frame));
        all.insert("seconds".to_owned(), json!(rounded(seconds, 1e3)));
    }
    all.extend(more);
    Value::Object(all).to_string()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn rounded(value: f64, to: f64) -> f64 {
    (value * to).round() / to
}
