//! Printing a configuration without its secrets.

use serde::Serialize;
use toml::Value;

use maskd_observability::redact::redact_value;

/// `config` as TOML; what stands for a user in any address is replaced by `***`. Streams hide their passwords when they
/// are serialised; this covers every other string.
pub(super) fn document(config: &impl Serialize) -> String {
    match Value::try_from(config) {
        Ok(mut value) => {
            walk(&mut value);
            toml::to_string(&value).unwrap_or_else(|e| format!("# This is a bug: {e}\n"))
        }
        Err(e) => format!("# This is a bug: {e}\n"),
    }
}

fn walk(value: &mut Value) {
    match value {
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| walk(value)),
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::String(text) => *text = redact_value(text).into_owned(),
        // 0.1 as 32 bits is 0.10000000149011612 as 64: print what was written.
        Value::Float(x) if f64::from(*x as f32) == *x => *x = (*x as f32).to_string().parse().unwrap_or(*x),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn passwords_go_wherever_they_stand() {
        let given = "[publish]\nconnect = ['tcp/127.0.0.1:7447', 'tls://u:s3cret@y/']\n[streams.a]\nkind = 'rtsp'\n\
                     location = 'rtsp://u:s3cret@cam/1'\n[streams.a.properties.source]\nuser-pw = 's3cret'\n";
        let shown = crate::config::Config::parse(given, "x").unwrap().redacted();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("rtsp://***@cam/1") && shown.contains("tcp/127.0.0.1:7447"), "{shown}");
    }
}
