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
}

impl StreamConfig {
    /// A stream of `source` without anything special.
    pub fn new(source: SourceConfig) -> Self {
        Self { source, first_mask: None, weight: 1 }
    }

    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.source.faults();
        if !(1..=100).contains(&self.weight) {
            faults.push(("weight", format!("{} is not in 1 to 100", self.weight)));
        }
        faults
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
        let (mut first_mask, mut weight) = (None, None);
        let rest = Rest { table, first_mask: &mut first_mask, weight: &mut weight };
        let source = SourceConfig::deserialize(MapAccessDeserializer::new(rest))?;
        Ok(StreamConfig { source, first_mask, weight: weight.unwrap_or(1) })
    }
}

/// The table without the daemon's own keys, which are put aside when they come by.
struct Rest<'a, A> {
    table: A,
    first_mask: &'a mut Option<PathBuf>,
    weight: &'a mut Option<u32>,
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
            _ => match self.0.take() {
                Some(seed) => seed.deserialize(key.to_owned().into_deserializer()).map(Key::Foreign),
                None => Err(E::custom("This is a bug: two keys read for one")),
            },
        }
    }
}
