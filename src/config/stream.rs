//! One `[streams.NAME]` table: the source's own keys, and beside them what the daemon needs to know of the stream.
//!
//! serde cannot both flatten and refuse unknown keys, so the table is read through a small filter: the daemon's keys
//! are taken out on the way, all others go to [`SourceConfig`], whose strictness and error positions stay intact.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

use maskd_ingest::SourceConfig;
use maskd_tracking::tracker::TrackerConfig;
use toml::{Table as Overrides, Value};

/// One camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamConfig {
    /// Where the frames come from.
    #[serde(flatten)]
    pub source: SourceConfig,
    /// The instances of the stream's first frame, as a PNG: see [`maskd_types::mask::FirstMask`]; without one, instances are
    /// discovered or prompted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_mask: Option<PathBuf>,
    /// How often this stream is served, against the others, when the engine cannot keep up with all: 1 to 100.
    pub weight: u32,
    /// Keys of `[tracker]` that are otherwise for this stream: see [`StreamConfig::settings`].
    #[serde(skip_serializing_if = "Overrides::is_empty")]
    pub tracker: Overrides,
}

/// What the engine goes by for one stream: defaults and the stream's own table, resolved. It can change while the stream
/// runs.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSettings {
    /// As [`StreamConfig::weight`].
    pub weight: u32,
    /// How its instances are found, followed and given up.
    pub tracker: TrackerConfig,
}

impl StreamConfig {
    /// A stream of `source` without anything special.
    pub fn new(source: SourceConfig) -> Self {
        Self { source, first_mask: None, weight: 1, tracker: Overrides::new() }
    }

    /// The stream's settings, where `[tracker]` is `defaults`.
    ///
    /// # Errors
    /// A key under the stream's `tracker` that there is not, or of another type.
    pub fn settings(&self, defaults: &TrackerConfig) -> Result<StreamSettings, String> {
        let tracker = match self.tracker.is_empty() {
            true => defaults.clone(),
            false => {
                let mut merged = Overrides::try_from(defaults).map_err(|e| format!("This is a bug: {e}"))?;
                merge(&mut merged, &self.tracker);
                TrackerConfig::deserialize(Value::Table(merged)).map_err(|e| e.message().to_owned())?
            }
        };
        Ok(StreamSettings { weight: self.weight, tracker })
    }

    /// What is wrong with its `tracker`: each key, dotted below it, and what to do. What is wrong with `defaults` is not
    /// said again.
    pub(super) fn tracker_faults(&self, defaults: &TrackerConfig) -> Vec<(String, String)> {
        match self.settings(defaults) {
            Err(why) => vec![("tracker".to_owned(), why)],
            Ok(settings) => {
                let known = defaults.faults();
                let own = settings.tracker.faults().into_iter().filter(|fault| !known.contains(fault));
                own.map(|(key, why)| (format!("tracker.{key}"), why)).collect()
            }
        }
    }

    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.source.faults();
        if !(1..=100).contains(&self.weight) {
            faults.push(("weight", format!("{} is not in 1 to 100", self.weight)));
        }
        faults
    }
}

/// Puts what `own` holds in place of the same keys of `all`, table by table.
fn merge(all: &mut Overrides, own: &Overrides) {
    for (key, value) in own {
        match (all.get_mut(key), value) {
            (Some(Value::Table(all)), Value::Table(own)) => merge(all, own),
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
}

impl<'de> Deserialize<'de> for StreamConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = StreamConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of a stream's settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<StreamConfig, A::Error> {
        let (mut first_mask, mut weight, mut tracker) = (None, None, None);
        let rest = Rest { table, first_mask: &mut first_mask, weight: &mut weight, tracker: &mut tracker };
        let source = SourceConfig::deserialize(MapAccessDeserializer::new(rest))?;
        Ok(StreamConfig { source, first_mask, weight: weight.unwrap_or(1), tracker: tracker.unwrap_or_default() })
    }
}

/// The table without the daemon's own keys, which are put aside when they come by.
struct Rest<'a, A> {
    table: A,
    first_mask: &'a mut Option<PathBuf>,
    weight: &'a mut Option<u32>,
    tracker: &'a mut Option<Overrides>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        // The seed is spent at the first foreign key, so own keys must be read before it is handed on.
        let mut seed = Some(seed);
        loop {
            match self.table.next_key_seed(OwnOr(&mut seed))? {
                None => return Ok(None),
                Some(Key::Foreign(key)) => return Ok(Some(key)),
                Some(Key::FirstMask) => *self.first_mask = Some(self.table.next_value()?),
                Some(Key::Weight) => *self.weight = Some(self.table.next_value()?),
                Some(Key::Tracker) => *self.tracker = Some(self.table.next_value()?),
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.table.next_value_seed(seed)
    }
}

enum Key<T> {
    FirstMask,
    Weight,
    Tracker,
    Foreign(T),
}

struct OwnOr<'a, K>(&'a mut Option<K>);

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for OwnOr<'_, K> {
    type Value = Key<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for OwnOr<'_, K> {
    type Value = Key<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        match key {
            "first_mask" => Ok(Key::FirstMask),
            "weight" => Ok(Key::Weight),
            "tracker" => Ok(Key::Tracker),
            _ => match self.0.take() {
                Some(seed) => seed.deserialize(key.to_owned().into_deserializer()).map(Key::Foreign),
                None => Err(E::custom("This is a bug: two keys read for one")),
            },
        }
    }
}
