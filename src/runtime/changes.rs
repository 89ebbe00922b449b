//! What is different between the configuration that runs and the one that was read.

use serde::Serialize;
use toml::{Table, Value};

use crate::config::Config;
use maskd_model::backbone::BackboneConfig;
use maskd_types::frame::StreamId;

/// The difference, by what has to be done about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Streams to take up.
    pub(super) added: Vec<StreamId>,
    /// Streams to give up.
    pub(super) removed: Vec<StreamId>,
    /// Streams to run with another source or first mask.
    pub(super) changed: Vec<StreamId>,
    /// Streams to serve by another weight or to track by other settings, nothing else.
    pub(super) weighed: Vec<StreamId>,
    /// Another network is to be taken up: weights, and what belongs to them.
    pub(super) network: bool,
    /// Sections that only a restart takes up.
    pub(super) waiting: Vec<String>,
}

impl Changes {
    /// From `old`, which runs, to `new`.
    pub(super) fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        for (name, stream) in &new.streams {
            let list = match old.streams.get(name) {
                None => &mut changes.added,
                Some(was) if (&was.source, &was.first_mask) != (&stream.source, &stream.first_mask) => {
                    &mut changes.changed
                }
                Some(was) if (was.weight, &was.tracker) != (stream.weight, &stream.tracker) => &mut changes.weighed,
                Some(_) => continue,
            };
            list.push(name.clone());
        }
        changes.removed = old.streams.keys().filter(|name| !new.streams.contains_key(name)).cloned().collect();
        // The rest of [model] waits.
        let waits = network_of(&new.model, &old.model) != old.model;
        changes.network = network_of(&old.model, &new.model) != old.model;
        let (old, new) = (sections(old), sections(new));
        let differs = |name: &&String| match name.as_str() {
            "streams" => false,
            "model" => waits,
            _ => old.get(*name) != new.get(*name),
        };
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        changes.waiting = names.into_iter().filter(differs).cloned().collect();
        changes
    }

    /// Whether there is anything to be done now.
    pub(super) fn any(&self) -> bool {
        self.network || [&self.added, &self.removed, &self.changed, &self.weighed].iter().any(|list| !list.is_empty())
    }
}

/// What of `[model]` can be taken up while the daemon runs: the new weights, and what belongs to them, where and how large
/// the old ones were.
pub(super) fn network_of(old: &BackboneConfig, new: &BackboneConfig) -> BackboneConfig {
    BackboneConfig {
        weights: new.weights.clone(),
        heads: new.heads,
        propagation_block: new.propagation_block,
        ..old.clone()
    }
}

/// The configuration by its sections; empty where it cannot be written, which nothing that was read is.
fn sections(config: &impl Serialize) -> Table {
    match Value::try_from(config) {
        Ok(Value::Table(table)) => table,
        _ => Table::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "test").unwrap()
    }

    #[test]
    fn each_difference_is_in_its_list() {
        let old = config(
            "[streams.a]\nkind = 'test'\n[streams.b]\nkind = 'test'\n[streams.c]\nkind = 'test'\n\
             [streams.d]\nkind = 'test'\n",
        );
        let new = config(
            "[tracker]\ndiscovery = false\n[streams.b]\nkind = 'rtsp'\nlocation = 'rtsp://b'\n\
             [streams.c]\nkind = 'test'\nweight = 3\n[streams.d]\nkind = 'test'\n[streams.e]\nkind = 'test'\n",
        );
        let ids = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<StreamId>>();
        let expected = Changes {
            added: ids(&["e"]),
            removed: ids(&["a"]),
            changed: ids(&["b"]),
            weighed: ids(&["c"]),
            network: false,
            waiting: vec!["tracker".to_owned()],
        };
        let changes = Changes::between(&old, &new);
        assert!(changes.any());
        assert_eq!(changes, expected);
        assert_eq!(Changes::between(&old, &old), Changes::default());
    }

    #[test]
    fn other_settings_of_a_stream_do_not_restart_it() {
        let (old, new) =
            (config("[streams.a]\nkind = 'test'\n"), config("[streams.a]\nkind = 'test'\ntracker.max_instances = 2\n"));
        for (old, new) in [(&old, &new), (&new, &old)] {
            let changes = Changes::between(old, new);
            assert_eq!((changes.changed.len(), changes.weighed.len(), changes.waiting.len()), (0, 1, 0));
        }
    }

    #[test]
    fn weights_are_taken_up_and_the_rest_of_the_model_waits() {
        let old = config("[model]\nweights = 'a'\n");
        let told = |text: &str| {
            let Changes { network, waiting, .. } = Changes::between(&old, &config(text));
            (network, waiting)
        };
        assert_eq!(told("[model]\nweights = 'b'\nheads = 3\n"), (true, vec![]));
        assert_eq!(told("[model]\nweights = 'a'\nshort_side = 98\n"), (false, vec!["model".to_owned()]));
        assert_eq!(told("[model]\nshort_side = 98\n"), (true, vec!["model".to_owned()]));
    }

    #[test]
    fn a_first_mask_that_came_or_went_changes_its_stream() {
        let (old, new) = (
            config("[streams.a]\nkind = 'test'\n"),
            config("[streams.a]\nkind = 'test'\nfirst_mask = 'm.png'\nweight = 2\n"),
        );
        let changes = Changes::between(&old, &new);
        assert_eq!((changes.changed.len(), changes.weighed.len()), (1, 0));
        assert_eq!(Changes::between(&new, &old).changed.len(), 1);
    }
}
