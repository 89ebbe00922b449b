//! Printing a configuration without its secrets.

use serde::Serialize;
use toml::Value;

use crate::ingest::{is_secret, redact};

/// `config` as TOML with every password replaced.
pub(super) fn document(config: &impl Serialize) -> String {
    match Value::try_from(config) {
        Ok(mut value) => {
            walk(&mut value);
            toml::to_string(&value).unwrap_or_else(|e| format!("# This is a bug: {e}\n"))
        }
        Err(e) => format!("# This is a bug: {e}\n"),
    }
}

/// Options of elements hold passwords under names of their own (`user-pw`), addresses hold them inside.
fn walk(value: &mut Value) {
    match value {
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                match value {
                    Value::String(text) if is_secret(key) && !text.is_empty() => *text = "***".to_owned(),
                    _ => walk(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::String(text) => *text = redact(text).into_owned(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn passwords_go_wherever_they_stand() {
        let given: toml::Table = toml::from_str(
            "level = 'info'\n[a]\nlocation = 'rtsp://u:s3cret@cam/1'\n[a.properties.source]\nuser-pw = 's3cret'\nn = [1, 'http://x:s3cret@y']",
        )
        .unwrap();
        let shown = super::document(&given);
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("rtsp://***@cam/1") && shown.contains("level = \"info\""), "{shown}");
    }
}
