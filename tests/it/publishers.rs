//! Another way out beside zenoh: it gets all that zenoh gets, and what it fails to send is counted.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use maskd::{
    config::{Config, Draft},
    frame::{Frame, StreamId},
    instance::{Instance, TrackEvent},
    publish::{
        PublishError, Published, Publisher, StreamPublisher,
        wire::{Event, Status},
    },
    runtime::{Origin, Read, run_with},
};

use crate::support::{
    scene::{Scene, film},
    weights::TinyVit,
};

/// What one publisher was given.
#[derive(Default)]
struct Seen {
    masks: Vec<u64>,
    events: usize,
    statuses: usize,
    models: Vec<String>,
    configurations: Vec<String>,
    closed: bool,
}

/// Remembers what it is given; every `fails`-th frame it loses.
#[derive(Clone)]
struct Memory {
    seen: Arc<Mutex<Seen>>,
    fails: u64,
}

#[async_trait]
impl Publisher for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn tell_config(&self, resolved: &str) {
        self.seen.lock().unwrap().configurations.push(resolved.to_owned());
    }

    async fn stream(&self, _: StreamId) -> Result<Box<dyn StreamPublisher>, PublishError> {
        Ok(Box::new(self.clone()))
    }

    async fn close(self: Box<Self>) {
        self.seen.lock().unwrap().closed = true;
    }
}

#[async_trait]
impl StreamPublisher for Memory {
    fn name_model(&self, id: &Arc<str>) {
        let models = &mut self.seen.lock().unwrap().models;
        if models.last().is_none_or(|last| **last != **id) {
            models.push(id.to_string());
        }
    }

    async fn publish_masks(&self, frame: &Frame, _: bool, _: Vec<Instance>) -> Result<Published, PublishError> {
        if frame.sequence % self.fails == self.fails - 1 {
            return Err(PublishError::Transport { what: "masks", cause: "as the test has it".to_owned() });
        }
        self.seen.lock().unwrap().masks.push(frame.sequence);
        Ok(Published::default())
    }

    fn publish_event(&self, _: u32, _: Event) -> Result<(), PublishError> {
        self.seen.lock().unwrap().events += 1;
        Ok(())
    }

    fn publish_track_event(&self, _: &Frame, _: TrackEvent) -> Result<(), PublishError> {
        Ok(())
    }

    fn publish_status(&self, _: Status) -> Result<(), PublishError> {
        self.seen.lock().unwrap().statuses += 1;
        Ok(())
    }
}

#[test]
fn a_second_publisher_gets_everything_and_its_losses_are_counted() {
    const FRAMES: u64 = 12;
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let (_film, film) = film(Scene { frames: FRAMES, ..Scene::default() });
    let text = format!(
        "[model]\nweights = '{}'\nshort_side = 112\ndevice = 'cpu'\n[admin]\nlisten = 'off'\n[publish]\nsite = 'yard'\n\
         listen = ['tcp/127.0.0.1:0']\n[runtime]\nexit_when_done = true\nstatus_seconds = 0.1\n\
         [streams.gate]\nkind = 'file'\nlocation = '{}'\npace = 'fast'\n",
        weights.display(),
        film.display()
    );
    let ready = || Draft::of(Config::parse(&text, "x.toml").unwrap()).ready().unwrap();
    let origin = Origin { file: None, read: Box::new(|| -> Read { panic!("nobody asks for a reload") }) };
    let seen = Arc::new(Mutex::new(Seen::default()));
    let memory = Memory { seen: seen.clone(), fails: 4 };
    let summary = run_with(ready(), origin, |_| vec![Box::new(memory)]).unwrap();

    let account = summary.streams.values().next().unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.closed);
    assert!(seen.masks.windows(2).all(|pair| pair[0] < pair[1]) && !seen.masks.is_empty(), "{:?}", seen.masks);
    assert_eq!(account.published, seen.masks.len() as u64, "zenoh took them all, this one not: lost for somebody");
    assert_eq!(account.captured, FRAMES);
    assert!(seen.events > 1 && seen.statuses > 0, "{} events, {} statuses", seen.events, seen.statuses);
    assert_eq!(seen.models.len(), 1);
    assert!(seen.configurations[0].contains("yard"), "{:?}", seen.configurations);
}
