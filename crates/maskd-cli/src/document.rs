//! A TOML text with the place of each of its keys, read as far as it can be read: a key that cannot be is a fault, and
//! counts as not given.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue, Deserializer, Error},
};

use super::ConfigFault;
use maskd_observability::redact::{Secrets, redact_value};

/// Most faults that are looked for in one text: each costs another reading of it.
const MOST: usize = 50;

/// What the TOML reader says of a key that is given twice.
pub const DUPLICATE: &str = "duplicate key";

/// A text, the keys in it, and what must not be quoted from it.
pub struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    secrets: Secrets,
}

impl<'t> Document<'t> {
    /// Takes a text apart. Of a text that is no TOML, the faults are all there is to say; a key that is given twice is a
    /// fault, and counts as given first.
    pub fn parse(text: &'t str) -> (Self, Vec<ConfigFault>) {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut secrets = Secrets::default();
        if let Ok(mut table) = <Table as serde::Deserialize>::deserialize(Deserializer::from(root.clone())) {
            leave_out_paths(&mut table);
            secrets.learn_from_toml("", &Value::Table(table));
        }
        let document = Self { text, root, secrets };
        let mut faults: Vec<ConfigFault> = Vec::new();
        for error in errors.iter().take(MOST) {
            let fault = document.fault(error, document.duplicate(error));
            // One mistake confuses the rest of its line.
            if faults.iter().all(|other| other.line != fault.line) {
                faults.push(fault);
            }
        }
        faults.sort_by_key(|fault| fault.line);
        (document, faults)
    }

    /// Reads all that can be read; the faults are the keys that could not. Nothing, where too many could not.
    pub fn read<T: DeserializeOwned>(&self) -> (Option<T>, Vec<ConfigFault>) {
        let (mut root, mut faults) = (self.root.clone(), Vec::new());
        while faults.len() < MOST {
            let error = match T::deserialize(Deserializer::from(root.clone())) {
                Ok(read) => return (Some(read), faults),
                Err(error) => error,
            };
            let path = error.span().and_then(|span| path_at(root.get_ref(), span.start));
            faults.push(self.fault(&error, path.as_deref().map(dotted)));
            // Without the key, the next fault shows. What has no place cannot be taken out.
            if !path.is_some_and(|path| remove(root.get_mut(), &path)) {
                break;
            }
        }
        (None, faults)
    }

    /// A fault of the value of `key`, dotted, as it stands in this text.
    pub fn wrong(&self, key: &str, message: &str) -> ConfigFault {
        self.told(key, anyhow::anyhow!(message.to_owned()), false)
    }

    /// As [`Document::wrong`], of whatever `cause`; `data` where what the value names is to blame.
    pub fn told(&self, key: &str, cause: anyhow::Error, data: bool) -> ConfigFault {
        let said = format!("{cause:#}");
        let hidden = self.secrets.hide(&said);
        // What tells errors apart is kept wherever nothing has to be hidden.
        let cause = if hidden == said { cause } else { anyhow::anyhow!(hidden) };
        ConfigFault { line: self.line_of(key), key: self.shown(key), cause, data }
    }

    /// The line, from 1, in which `key`, dotted, stands; that of the innermost table around it where it is not given.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        place(self.root.get_ref(), key).map(|at| self.line_at(at))
    }

    /// What the TOML reader says, on one line.
    fn fault(&self, error: &Error, key: Option<String>) -> ConfigFault {
        // Before anything else: a secret is known as it is written, not as a line of text makes it.
        let mut message = self.secrets.hide(error.message()).trim().replace('\n', ", ");
        if let Some(suggestion) = suggestion(&message) {
            message = format!("{message}; did you mean `{suggestion}`?");
        }
        let line = error.span().map(|span| self.line_at(span.start));
        let key = key.map_or_else(String::new, |key| self.shown(&key));
        ConfigFault { line, key, cause: anyhow::anyhow!(self.secrets.hide(&message)), data: false }
    }

    /// A key may be anything, an address too.
    fn shown(&self, key: &str) -> String {
        self.secrets.hide(&redact_value(key)).replace(char::is_control, " ")
    }

    /// The key that is given twice, as it is written.
    fn duplicate(&self, error: &Error) -> Option<String> {
        let span = error.span().filter(|_| error.message() == DUPLICATE)?;
        self.text.get(span).map(|key| key.trim_matches(['"', '\'', ' ']).to_owned())
    }

    fn line_at(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
    }
}

fn dotted(path: &[String]) -> String {
    path.join(".")
}

fn within(span: &Range<usize>, at: usize) -> bool {
    span.contains(&at)
}

/// The keys that lead to what stands at byte `at`, be it a key or its value: the innermost. Each value is looked at once, so
/// that nested tables cost no more than their length.
fn path_at(table: &DeTable<'_>, at: usize) -> Option<Vec<String>> {
    for (key, value) in table {
        let rest = match value.get_ref() {
            DeValue::Table(inner) => path_at(inner, at),
            _ => None,
        };
        if let Some(rest) = rest {
            return Some(std::iter::once(key.get_ref().to_string()).chain(rest).collect());
        }
    }
    let here = |(key, value): &(&Spanned<_>, &Spanned<DeValue<'_>>)| {
        within(&key.span(), at)
            || match value.get_ref() {
                // It was looked into above.
                DeValue::Table(_) => within(&value.span(), at),
                _ => holds(value, at),
            }
    };
    table.iter().find(here).map(|(key, _)| vec![key.get_ref().to_string()])
}

fn holds(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    let inside = match value.get_ref() {
        DeValue::Array(items) => items.iter().any(|item| holds(item, at)),
        // Of a table in an array: its keys are no keys of the document.
        DeValue::Table(table) => table.iter().any(|(key, value)| within(&key.span(), at) || holds(value, at)),
        _ => false,
    };
    inside || within(&value.span(), at)
}

/// Takes a key out; false where it is not there.
fn remove(table: &mut DeTable<'_>, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => table.remove(last.as_str()).is_some(),
        [first, rest @ ..] => match table.get_mut(first.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => remove(inner, rest),
            _ => false,
        },
    }
}

/// Where the key that begins `dotted` stands, and in it the rest; keys may hold dots themselves.
fn place(table: &DeTable<'_>, dotted: &str) -> Option<usize> {
    table.iter().find_map(|(key, value)| {
        let rest = dotted.strip_prefix(&**key.get_ref())?;
        let here = Some(key.span().start);
        match (rest.strip_prefix('.'), value.get_ref()) {
            (Some(rest), DeValue::Table(inner)) => place(inner, rest).or(here),
            (Some(_), _) => here,
            (None, _) if rest.is_empty() => here,
            (None, _) => None,
        }
    })
}

/// The accepted name nearest to the unknown one, out of serde's "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Reads as much of `text` as can be read; what cannot is a fault, and counts as not given. Nothing is read of a text
/// that leaves open what is meant.
pub fn read<T: DeserializeOwned>(text: &str) -> (Option<T>, Vec<ConfigFault>) {
    let (document, mut faults) = Document::parse(text);
    // What is given twice is known once.
    if faults.iter().any(|fault| !fault.cause.to_string().contains(DUPLICATE)) {
        return (None, faults);
    }
    let (read, unread) = document.read();
    faults.extend(unread);
    (read, faults)
}

/// Takes out the paths of files that hold secrets: errors about such a file must name it.
fn leave_out_paths(table: &mut Table) {
    table.retain(|key, value| key != "password_file" || !value.as_str().is_some_and(|path| path.contains('/')));
    table.iter_mut().filter_map(|(_, value)| value.as_table_mut()).for_each(leave_out_paths);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let text = "# a = 1\na.b = 1\nc = { d = 2,\n e = 3 }\n[x.\"y.z\"]\nk = '''\nv = 9\n'''\nv = 4\n\
                    [[list]]\nq = 1\n[[list]]\nq = 2\n[x]\nlast = [\n1,\n2]\n";
        let (document, faults) = Document::parse(text);
        assert!(faults.is_empty(), "{faults:?}");
        for (key, line) in [
            ("a.b", Some(2)),
            ("c.d", Some(3)),
            ("c.e", Some(4)),
            ("x.y.z.v", Some(9)),
            ("x.y.z.k", Some(6)),
            ("x.y.z.none", Some(5)),
            ("x.last", Some(15)),
            ("x.none", Some(14)),
            ("list.q", Some(10)),
            ("none", None),
            ("a.bc", Some(2)),
        ] {
            assert_eq!(document.line_of(key), line, "{key}");
        }
    }

    #[test]
    fn deep_tables_cost_no_more_than_their_length() {
        // Looked into twice at each level, forty levels would take days.
        let text = format!("{}x = 1\nunknown = 1\n", "a.".repeat(40));
        let (document, _) = Document::parse(&text);
        let (_, faults) = document.read::<Sheet>();
        assert!(!faults.is_empty());
        let nested = format!("b = [{}1{}]\nunknown = 1\n", "{a = [".repeat(40), "]}".repeat(40));
        let (document, _) = Document::parse(&nested);
        assert!(!document.read::<Sheet>().1.is_empty());
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sheet {
        a: u8,
        b: Vec<u8>,
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        c: bool,
        d: String,
    }

    #[test]
    fn every_key_that_cannot_be_read_is_a_fault_and_the_rest_is_read() {
        let text =
            "a = 'x'\nb = [1, 2, 'three']\nunknown = 1\n[inner]\nc = 7\nd = 'kept'\nd = 'twice'\n[other]\nx = 1\n";
        let (document, twice) = Document::parse(text);
        assert_eq!((twice.len(), twice[0].line), (1, Some(7)), "{twice:?}");
        let (sheet, faults) = document.read::<Sheet>();
        assert_eq!(
            sheet.unwrap(),
            Sheet { inner: Inner { d: "kept".to_owned(), ..Inner::default() }, ..Sheet::default() }
        );
        let mut places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.key.as_str())).collect();
        places.sort_unstable();
        let expected = [(1, "a"), (2, "b"), (3, "unknown"), (5, "inner.c"), (8, "other")];
        assert_eq!(places, expected.map(|(line, key)| (Some(line), key)));
    }

    #[test]
    fn what_is_no_toml_is_a_fault_for_each_line_and_secrets_are_not_quoted() {
        let (_, faults) = Document::parse("a = \nb = 1\n[c\n");
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [Some(1), Some(3)], "{faults:?}");
        let (document, _) = Document::parse("a = 'rtsp://u:hunter2@cam'\n");
        let (_, faults) = document.read::<Sheet>();
        assert!(faults.len() == 1 && !format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
}
