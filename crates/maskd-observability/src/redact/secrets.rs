//! The secrets of a camera or a file, known by their values: each is replaced wherever it stands in a text.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{HIDDEN, ends_word, is_scheme, is_secret, redact, secret_value, split_user};

/// Below this many bytes a secret is only seen where it stands alone: the letter `a` is in most words.
const SHORT: usize = 4;

/// Percent-encoding leaves these alone (RFC 3986, "unreserved").
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Secrets in every spelling that a program or library may print them in. Its own `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The longest first, so that none is cut up by a shorter one within it.
    spellings: Vec<String>,
}

impl Secrets {
    /// `secret` is one, as it is and with percent signs decoded.
    pub fn learn(&mut self, secret: &str) {
        let decoded = percent_decode_str(secret).decode_utf8_lossy().into_owned();
        for plain in [secret, &decoded] {
            let debug = format!("{plain:?}");
            let json = serde_json::to_string(plain).unwrap_or_else(|_| debug.clone());
            let one_line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
            let controls: String = plain.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            for spelling in [
                utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string(),
                utf8_percent_encode(plain, &RESERVED).to_string(),
                debug[1..debug.len() - 1].to_owned(),
                json[1..json.len() - 1].to_owned(),
                one_line,
                controls,
                plain.to_owned(),
            ] {
                if !spelling.trim().is_empty() && !self.spellings.contains(&spelling) {
                    self.spellings.push(spelling);
                }
            }
        }
        self.spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    }

    /// The passwords and secret-looking values in `value`: a URL, or text such as a pipeline's description.
    pub fn learn_from(&mut self, value: &str) {
        match value.split_once("://") {
            Some((scheme, url)) if is_scheme(scheme) => self.learn_from_url(url),
            _ => {
                self.learn_values(value, false);
                for word in value.split(ends_word) {
                    if let Some((_, url)) = word.split_once("://") {
                        self.learn_from_url(url);
                    }
                }
            }
        }
    }

    /// The secrets in what the option or table `name` is set to, whatever is nested in it.
    pub fn learn_from_toml(&mut self, name: &str, value: &toml::Value) {
        match value {
            toml::Value::String(secret) if is_secret(name) => self.learn(secret),
            toml::Value::String(text) => self.learn_from(text),
            toml::Value::Array(items) => items.iter().for_each(|item| self.learn_from_toml("", item)),
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| {
                self.learn_from(key);
                self.learn_from_toml(key, value);
            }),
            _ => {}
        }
    }

    fn learn_from_url(&mut self, url: &str) {
        if let Some((_, password)) = split_user(url).and_then(|(user, _)| user.split_once(':')) {
            self.learn(password);
        }
        self.learn_values(url, true);
    }

    fn learn_values(&mut self, mut text: &str, in_url: bool) {
        while let Some(value) = secret_value(text, in_url) {
            self.learn(&text[value.clone()]);
            text = &text[value.end..];
        }
    }

    /// `text` without any of them, and [`redact`]ed.
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for spelling in self.spellings.iter().filter(|spelling| *spelling != HIDDEN) {
            hidden = replace(&hidden, spelling);
        }
        redact(&hidden).into_owned()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// `text` with `secret` hidden; a short one only where neither neighbour is a letter or digit.
fn replace(text: &str, secret: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(secret) {
        let alone = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        let end = at + secret.len();
        if secret.len() >= SHORT || (alone(text[..at].chars().next_back()) && alone(text[end..].chars().next())) {
            out.push_str(&text[from..at]);
            out.push_str(HIDDEN);
            from = end;
        }
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::secret, *};

    #[test]
    fn what_is_learnt_goes_and_words_stay() {
        let mut secrets = Secrets::default();
        secrets.learn_from("rtsp://u:h%40nter2@cam/1?token=abc.def&x=1");
        secrets.learn("a");
        secrets.learn("");
        let said = "cannot open h@nter2 or h%40nter2 with abc.def, a";
        assert_eq!(secrets.hide(said), "cannot open *** or *** with ***, ***");
        secrets.learn_from("rtspsrc name=source user-pw=\"b c d\" location=rtsp://v:pa55@cam/ ! fakesink");
        assert_eq!(secrets.hide("b c d, pa55"), "***, ***");
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }

    proptest! {
        #[test]
        fn no_spelling_of_it_survives(password in secret(""), before in ".{0,8}", after in ".{0,8}") {
            let mut secrets = Secrets::default();
            secrets.learn_from(&format!("rtsp://u:{password}@cam/1"));
            let decoded = percent_decode_str(&password).decode_utf8_lossy().into_owned();
            let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC).to_string();
            let json = serde_json::to_string(&password).unwrap();
            let one_line = password.split_whitespace().collect::<Vec<_>>().join(" ");
            for text in [&password, &decoded, &encoded, &json, &one_line, &format!("{password:?}")] {
                let shown = secrets.hide(&format!("{before} {text} {after}"));
                prop_assert!(!shown.contains("S3CRET"), "{}", shown);
            }
        }

        #[test]
        fn a_short_secret_is_hidden_where_it_stands_alone(password in "[a-z0-9]{1,3}") {
            let mut secrets = Secrets::default();
            secrets.learn(&password);
            prop_assert_eq!(secrets.hide(&format!("#: {password}.")), "#: ***.");
            let inside = format!("q{password}q");
            prop_assert_eq!(secrets.hide(&inside), inside);
        }
    }
}
