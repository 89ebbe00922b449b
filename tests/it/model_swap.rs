//! Other weights while the daemon runs: good ones are taken up under flowing frames, bad ones are refused or given back.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use maskd::{
    frame::Size,
    mask::LabelMap,
    publish::{Received, wire::MasksMessage},
};

use crate::{
    reload::Edge,
    support::{
        listener::listen,
        process::{counter, get},
        until,
        weights::TinyVit,
    },
};

const TAKEN: &str = "the weights were exchanged";
const REFUSED: &str = "the weights are refused, the old ones go on";

/// Every masks message that the daemon at `endpoint` sends from about now on.
fn overhear(endpoint: &str) -> Arc<Mutex<Vec<MasksMessage>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = heard.clone();
    listen(endpoint, move |received| {
        if let Received::Masks { message, .. } = received {
            into.lock().unwrap().push(message);
        }
        true
    });
    heard
}

impl Edge {
    fn model(&self) -> String {
        self.ready()["model"].as_str().unwrap().to_owned()
    }

    fn weights(&self) -> PathBuf {
        self.home.path().join("tiny.safetensors")
    }

    /// Names other weights in the configuration.
    fn name_weights(&self, path: &Path) {
        let file = self.home.path().join("maskd.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.starts_with("weights = ") {
                true => format!("weights = '{}'", path.display()),
                false => line.to_owned(),
            })
            .collect();
        std::fs::write(file, lines.join("\n") + "\n").unwrap();
    }
}

/// Two still pictures in which something is followed from a given mask, and nothing is looked for.
fn followed(home: &Path) -> String {
    let size = Size::new(640, 480);
    let mut mask = LabelMap::new(size);
    mask.labels.chunks_exact_mut(640).take(300).for_each(|row| row[80..400].fill(5));
    let path = home.join("first.png");
    mask.write_png(&path).unwrap();
    let stream = |name: &str| format!("[streams.{name}]\nkind = 'test'\nfirst_mask = '{}'\n", path.display());
    format!("{}{}[tracker]\ndiscovery = false\n", stream("a"), stream("b"))
}

#[test]
fn good_weights_are_taken_up_and_no_message_is_lost() {
    let it = Edge::with("", followed);
    it.flows("a", 3);
    let (heard, first) = (overhear(&it.daemon.endpoint()), it.model());
    let of = |model: &str| heard.lock().unwrap().iter().filter(|message| message.model == model).count();
    until("messages of the first weights", || (of(&first) >= 5).then_some(()));

    let second = it.home.path().join("second.safetensors");
    TinyVit::default().write(&second, 8);
    it.name_weights(&second);
    it.hang_up(TAKEN);
    let model = until("another model", || Some(it.model()).filter(|model| *model != first));
    it.flows("a", 5);
    it.flows("b", 5);
    until("messages of the second weights", || (of(&model) >= 10).then_some(()));
    until("the end of the probation", || (it.log_lines("the new weights are kept") == 1).then_some(()));

    // The same file with another content: another width, another grid.
    let third = it.home.path().join("third.safetensors");
    TinyVit { dim: 128, patch: 16, ..TinyVit::default() }.write(&third, 9);
    std::fs::rename(third, &second).unwrap();
    let model = until("a third model", || Some(it.model()).filter(|now| *now != model && *now != first));
    until("messages of the third weights", || (of(&model) >= 10).then_some(()));

    let heard = std::mem::take(&mut *heard.lock().unwrap());
    for stream in ["a", "b"] {
        let of_stream: Vec<&MasksMessage> = heard.iter().filter(|m| m.stream.as_str() == stream).collect();
        for pair in of_stream.windows(2) {
            // No message is missing, and the weights change where the engine changed them: twice.
            assert_eq!(pair[1].number, pair[0].number + 1, "{stream}");
            assert_eq!(pair[1].epoch, pair[0].epoch);
        }
        let changes = of_stream.windows(2).filter(|pair| pair[0].model != pair[1].model).count();
        assert_eq!(changes, 2, "{stream}");
    }
    let metrics = get(it.admin, "/metrics").1;
    assert_eq!(counter(&metrics, "maskd_frames_dropped", &["EngineFailed"]), 0, "{metrics}");
    it.stop();
}

#[test]
fn bad_weights_are_refused_and_the_old_ones_go_on() {
    let it = Edge::new("reload_on_change = false", "[streams.a]\nkind = 'test'\n");
    it.flows("a", 3);
    let first = it.model();
    let bad = it.home.path().join("bad.safetensors");
    let edited = |name: &'static str, edit: fn(&mut Vec<usize>, &mut Vec<f32>)| {
        TinyVit::default().write_edited(&bad, 8, |tensor, shape, values| {
            if tensor == name {
                edit(shape, values);
            }
        });
    };
    it.name_weights(&bad);
    std::fs::write(&bad, &std::fs::read(it.weights()).unwrap()[..20_000]).unwrap();
    it.hang_up(crate::reload::REFUSED);
    edited("blocks.1.mlp.fc1.bias", |_, values| values[3] = f32::NAN);
    it.hang_up(crate::reload::REFUSED);
    edited("blocks.0.attn.proj.weight", |shape, values| {
        shape[1] /= 2;
        values.truncate(values.len() / 2);
    });
    it.hang_up(crate::reload::REFUSED);
    // Each number is one, and what comes out is none: only trying tells.
    edited("blocks.0.mlp.fc2.weight", |_, values| values.fill(3e38));
    it.hang_up(REFUSED);
    for said in ["bad.safetensors", "blocks.1.mlp.fc1.bias", "blocks.0.attn.proj.weight", "are not finite"] {
        assert!(it.daemon.log().contains(said), "{said}: {}", it.daemon.log());
    }
    it.flows("a", 5);
    assert_eq!(it.model(), first);
    it.stop();
}

#[test]
fn weights_that_fail_on_a_frame_are_given_back_and_no_frame_is_lost() {
    let picture =
        |pattern: &str| format!("[streams.a]\nkind = 'test'\n[streams.a.properties.source]\npattern = '{pattern}'\n");
    let it = Edge::new("reload_on_change = false", &picture("black"));
    it.flows("a", 3);
    let first = it.model();
    // One channel is how bright a patch is; where it is bright, one hidden unit drowns all others.
    let blind = it.home.path().join("blind.safetensors");
    TinyVit::default().write_edited(&blind, 8, |tensor, _, values| match tensor {
        "patch_embed.proj.weight" => {
            values.iter_mut().for_each(|w| *w *= 0.1);
            values[..192].fill(0.1);
        }
        "blocks.0.mlp.fc1.weight" => {
            values[..64].iter_mut().enumerate().for_each(|(i, w)| *w = if i == 0 { 1e8 } else { 0.0 })
        }
        "blocks.0.mlp.fc1.bias" => values[0] = -4e8,
        "blocks.0.mlp.fc2.weight" => values.iter_mut().step_by(256).for_each(|w| *w = 1.0),
        _ => {}
    });
    it.name_weights(&blind);
    it.hang_up(TAKEN);
    it.flows("a", 3);
    assert_ne!(it.model(), first);
    it.rewrite(&picture("white"));
    it.daemon.signal("HUP");
    until("the old weights", || {
        (it.log_lines("the new weights have failed, the old ones are back") == 1).then_some(())
    });
    assert!(it.daemon.log().contains("are not finite numbers"), "{}", it.daemon.log());
    it.flows("a", 5);
    assert_eq!(it.model(), first);
    let metrics = get(it.admin, "/metrics").1;
    assert_eq!(counter(&metrics, "maskd_frames_dropped", &["EngineFailed"]), 0, "{metrics}");
    it.stop();
}
