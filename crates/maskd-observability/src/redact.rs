//! Takes secrets out of text before anybody reads it: logs, events, errors, the printed configuration.
//!
//! [`redact`] knows how secrets look, and serves where nothing else is known. [`Secrets`] knows the very ones of a
//! camera or a file, and leaves none of them however oddly they are spelled. Where both can be had, both are used. In
//! doubt too much is hidden: an address that is shown in part is a nuisance, a password is not.

mod secrets;

use std::{borrow::Cow, ops::Range};

pub use secrets::Secrets;

/// What replaces a secret in text.
pub const HIDDEN: &str = "***";

/// `text` with the user part of every URL, the value of every secret-looking `name=value`, and what follows
/// `Authorization:` replaced by `***`. A URL ends at white space or a quote; one right behind a quote ends at the next.
pub fn redact(text: &str) -> Cow<'_, str> {
    changed(text, hide_values(&hide_urls(&hide_header(text)), false))
}

/// As [`redact`], for text that is one value (of a setting, an argument) from end to end: white space and quotes are
/// part of the URL that it is, and of secrets in it.
pub fn redact_value(text: &str) -> Cow<'_, str> {
    match text.split_once("://") {
        Some((scheme, url)) if is_scheme(scheme) => changed(text, format!("{scheme}://{}", hide_in_url(url))),
        _ => changed(text, hide_values(&hide_urls(&hide_header(text)), true)),
    }
}

/// Whether an option called `name` holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['-', '_', '.']);
    ["pass", "pwd", "token", "secret", "cred"].iter().any(|part| name.contains(part))
        || words.any(|word| {
            let whole = ["auth", "authorization", "sig", "signature", "psk"];
            whole.contains(&word) || word.ends_with("key") || word.ends_with("pw")
        })
}

fn changed(text: &str, hidden: String) -> Cow<'_, str> {
    if hidden == text { Cow::Borrowed(text) } else { Cow::Owned(hidden) }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Each URL within `text`, hidden in.
fn hide_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        let scheme_start = before[..at].rfind(|c: char| !is_scheme(c.encode_utf8(&mut [0; 4]))).map_or(0, |i| i + 1);
        let quote = scheme_start.checked_sub(1).and_then(|i| before.as_bytes().get(i)).copied();
        let quoted = quote.filter(|q| b"\"'`".contains(q)).and_then(|q| unescaped(url, char::from(q)));
        let end = quoted.or_else(|| url.find(ends_word)).unwrap_or(url.len());
        out.push_str(before);
        out.push_str(&hide_in_url(&url[..end]));
        rest = &url[end..];
    }
    out.push_str(rest);
    out
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "\"'<>`".contains(c)
}

/// Where the first `quote` stands that no backslash escapes.
fn unescaped(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(i, c)| {
        let here = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        here.then_some(i)
    })
}

/// User part and the rest of what follows a URL's `://`. A password with a bare `/`, `?`, `#` or `@` in it reaches beyond
/// what the standard calls the authority, so the last `@` counts wherever a password may stand before it.
fn split_user(url: &str) -> Option<(&str, &str)> {
    let (user, rest) = url.rsplit_once('@')?;
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    (authority.contains('@') || user.contains(':')).then_some((user, rest))
}

/// What follows `://`, without its user part and secret values.
fn hide_in_url(url: &str) -> String {
    let Some((user, rest)) = split_user(url) else { return hide_values(url, true) };
    // `...?password=a@b`: the last `@` stood in a value, somewhere behind the host, which goes on behind it.
    let behind_host = user.find(['/', '?', '#', '&']).map_or("", |end| &user[end..]);
    let rest = match hide_values(&format!("{behind_host}@"), true).ends_with(HIDDEN) {
        true => format!("{HIDDEN}{}", &rest[rest.find(['&', '#']).unwrap_or(rest.len())..]),
        false => rest.to_owned(),
    };
    format!("{HIDDEN}@{}", hide_values(&rest, true))
}

/// `name=value` -> `name=***` where the name looks secret.
fn hide_values(text: &str, in_url: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(value) = secret_value(rest, in_url) {
        out.push_str(&rest[..value.start]);
        out.push_str(HIDDEN);
        rest = &rest[value.end..];
    }
    out.push_str(rest);
    out
}

/// Where the first value with a secret-looking name stands, without its quotes. Within a URL only `&` and `#` end one.
fn secret_value(text: &str, in_url: bool) -> Option<Range<usize>> {
    text.match_indices('=').find_map(|(equals, _)| {
        let in_name = |c: &(usize, char)| c.1.is_ascii_alphanumeric() || c.1 == '-' || c.1 == '_';
        let name = text[..equals].char_indices().rev().take_while(in_name).last()?.0;
        if !is_secret(&text[name..equals]) {
            return None;
        }
        // GStreamer writes `user-pw=(string)"a b"`.
        let typed = ["(string)", "(gchararray)"].into_iter().find(|typed| text[equals + 1..].starts_with(typed));
        let start = equals + 1 + typed.filter(|_| !in_url).map_or(0, str::len);
        let value = &text[start..];
        let quote = value.chars().next().filter(|c| !in_url && (*c == '"' || *c == '\''));
        let (start, end) = match quote {
            Some(quote) => (start + 1, unescaped(&value[1..], quote)),
            None if in_url => (start, value.find(['&', '#'])),
            None => (start, value.find(|c| ends_word(c) || c == '&' || c == '#')),
        };
        let end = end.map_or(text.len(), |length| start + length);
        (end > start).then_some(start..end)
    })
}

/// `Authorization: Basic dTpw` -> `Authorization: ***`, to the end of the line or the quote it stands in.
fn hide_header(text: &str) -> Cow<'_, str> {
    const HEADER: &str = "authorization:";
    let Some(at) = text.to_ascii_lowercase().find(HEADER) else { return text.into() };
    let (before, value) = text.split_at(at + HEADER.len());
    let end = value.find(['\r', '\n', '"']).unwrap_or(value.len());
    format!("{before} {HIDDEN}{}", hide_header(&value[end..])).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, expected) in [
            ("rtsp://u:p@cam.local:554/ch1?x=2", "rtsp://***@cam.local:554/ch1?x=2"),
            ("rtsp://u:p@w/r?d@cam/ch1", "rtsp://***@cam/ch1"),
            ("rtsp://u:p/w@cam/ch1", "rtsp://***@cam/ch1"),
            ("rtsp://u:1/2@cam/ch1", "rtsp://***@cam/ch1"),
            ("rtsp://u:p@ss@cam/ch1", "rtsp://***@cam/ch1"),
            ("rtsp://token@cam/ch1", "rtsp://***@cam/ch1"),
            ("cannot open \"rtsp://u:p@cam/\" and http://a:b@c", "cannot open \"rtsp://***@cam/\" and http://***@c"),
            ("found `rtsp://u:p w@cam`, expected", "found `rtsp://***@cam`, expected"),
            ("http://cam/live?channel=1&access_token=abc.def&y=1", "http://cam/live?channel=1&access_token=***&y=1"),
            ("http://cam/live?password=a@b&y=1", "http://cam/live?password=***&y=1"),
            ("http://cam:80/live?password=a@b&y=1", "http://***@***&y=1"),
            ("http://cam/live?token=:?@b&y=1", "http://***@***&y=1"),
            ("http://cam:80/live?token=@b&y=1", "http://***@***&y=1"),
            ("http://cam/live?token=(string)&y=1", "http://cam/live?token=***&y=1"),
            ("token=(hunter2) a=b", "token=*** a=b"),
            ("rtsp://cam/user=admin&password=tlJw&channel=1", "rtsp://cam/user=admin&password=***&channel=1"),
            ("user-pw=\"a \\\"b\" latency=3", "user-pw=\"***\" latency=3"),
            ("props, user-pw=(string)\"a b\", x=(int)3", "props, user-pw=(string)\"***\", x=(int)3"),
            ("rtsp://cam/@live", "rtsp://cam/@live"),
            ("rtsp://[::1]:8554/live", "rtsp://[::1]:8554/live"),
            ("authorization: Digest u=\"x\", r=\"y\"\nnext", "authorization: ***\"x\", r=\"y\"\nnext"),
            ("plain text, a=b, no url", "plain text, a=b, no url"),
            ("signal=9 sequence=3", "signal=9 sequence=3"),
            ("é=x token=é", "é=x token=***"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    /// A secret: a marker between characters that most need care, of which `without` may be left out.
    pub(super) fn secret(without: &'static str) -> impl Strategy<Value = String> {
        let odd = prop::collection::vec(prop_oneof![prop::char::range('!', '~'), any::<char>()], 0..6);
        (odd.clone(), odd).prop_map(move |(before, after)| {
            let drop = |c: &char| without.contains(*c) || (without.contains(' ') && c.is_whitespace());
            let part = |chars: Vec<char>| chars.into_iter().filter(|c| !drop(c)).collect::<String>();
            format!("{}S3CRET{}", part(before), part(after))
        })
    }

    proptest! {
        #[test]
        fn no_password_survives_in_text(user in "[a-z]{0,8}", password in secret(" \"'<>`"), tail in "[a-z/?&=]{0,12}") {
            let shown = redact(&format!("open rtsp://{user}:{password}@cam/{tail} failed")).into_owned();
            prop_assert!(!shown.contains("S3CRET"), "{}", shown);
            // A password that looks like a parameter itself takes the host along.
            let shows_host = shown.contains("@cam/") || password.contains('=');
            prop_assert!(shows_host && shown.ends_with(" failed"), "{}", shown);
        }

        #[test]
        fn no_password_survives_in_a_value(user in "[a-z]{0,8}", password in secret(""), tail in "[a-z/?&=@]{0,12}") {
            let shown = redact_value(&format!("rtsp://{user}:{password}@cam/{tail}")).into_owned();
            prop_assert!(!shown.contains("S3CRET") && shown.starts_with("rtsp://"), "{}", shown);
        }

        #[test]
        fn no_secret_parameter_survives(
            name in prop::sample::select(vec!["token", "access_token", "password", "pwd", "apiKey", "sig", "user-pw"]),
            odd in secret("&#"), plain in secret(" \"'<>`&#"),
        ) {
            let shown = redact_value(&format!("tls/cam:7447#a=1&{name}={odd}")).into_owned();
            prop_assert!(!shown.contains("S3CRET") && shown.starts_with("tls/cam:7447#"), "{}", shown);
            let shown = redact_value(&format!("http://cam/x?a=1&{name}={odd}&z=2")).into_owned();
            prop_assert!(!shown.contains("S3CRET") && shown.ends_with("&z=2"), "{}", shown);
            let shown = redact(&format!("cannot set {name}={plain} there")).into_owned();
            prop_assert!(!shown.contains("S3CRET") && shown.ends_with(" there"), "{}", shown);
        }

        #[test]
        fn any_text_is_taken_and_stays_as_it_is_then(text in ".{0,60}", odd in "[a-z:/@?=&#\"' *]{0,40}") {
            for text in [text, odd] {
                let once = redact(&text).into_owned();
                prop_assert_eq!(redact(&once), once.as_str(), "{}", text);
            }
        }

        #[test]
        fn words_stay(text in "[a-zA-Z0-9 ,.;()-]{0,60}") {
            prop_assert_eq!(redact(&text), text.as_str());
        }
    }
}
