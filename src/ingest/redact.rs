//! Takes secrets out of text before anybody reads it: logs, events, errors, the printed configuration.

use std::borrow::Cow;

const HIDDEN: &str = "***";

/// Names whose values are secrets, wherever they stand in a `name=value` (`?access_token=`, `user-pw=`, `password=`).
const SECRET_NAMES: [&str; 10] = ["pass", "pwd", "-pw", "_pw", "token", "secret", "key", "auth", "sig", "cred"];

/// `text` with the user part of every URL and the value of every secret-looking `name=value` replaced by `***`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let hidden = redact_values(&redact_users(text));
    if hidden == text { Cow::Borrowed(text) } else { Cow::Owned(hidden) }
}

/// Whether an option called `name` holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// `scheme://user:password@host` -> `scheme://***@host`.
fn redact_users(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        out.push_str(before);
        let end = url.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(url.len());
        let authority = url[..end].find(['/', '?', '#']).unwrap_or(end);
        // A password with a bare '/', '?' or '#' in it ends the authority early, in what is no port number.
        let port = url[..authority].rsplit(':').next().unwrap_or("");
        let whole = url[..authority].contains(':') && !port.bytes().all(|b| b.is_ascii_digit());
        let searched = if url[..authority].contains('@') || !whole { authority } else { end };
        match url[..searched].rfind('@') {
            Some(user) => {
                out.push_str(HIDDEN);
                rest = &url[user..];
            }
            None => rest = url,
        }
    }
    out.push_str(rest);
    out
}

/// `name=value` -> `name=***` where the name looks secret.
fn redact_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, value) = rest.split_at(at + 1);
        out.push_str(before);
        let name_start = before[..at].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        let name = &before[name_start.map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8))..at];
        rest = value;
        if is_secret(name) {
            let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'');
            let body = &value[quote.map_or(0, char::len_utf8)..];
            let ends = |c: char| match quote {
                Some(q) => c == q,
                None => c.is_whitespace() || "&#\"'<>`;,)".contains(c),
            };
            let end = body.find(ends).unwrap_or(body.len());
            if end > 0 {
                out.extend(quote);
                out.push_str(HIDDEN);
                rest = &body[end..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, expected) in [
            ("rtsp://u:p@cam.local:554/ch1?x=2", "rtsp://***@cam.local:554/ch1?x=2"),
            ("rtsp://u:p@w/r?d@cam/ch1", "rtsp://***@w/r?d@cam/ch1"),
            ("rtsp://u:p/w@cam/ch1", "rtsp://***@cam/ch1"),
            ("rtsp://u:p@ss@cam/ch1", "rtsp://***@cam/ch1"),
            ("cannot open \"rtsp://u:p@cam/\" and http://a:b@c", "cannot open \"rtsp://***@cam/\" and http://***@c"),
            ("http://cam/live?channel=1&access_token=abc.def&y=1", "http://cam/live?channel=1&access_token=***&y=1"),
            ("rtsp://cam/user=admin&password=tlJw&channel=1", "rtsp://cam/user=admin&password=***&channel=1"),
            ("user-pw=\"a b\" latency=3", "user-pw=\"***\" latency=3"),
            ("rtsp://cam:8554/@live", "rtsp://cam:8554/@live"),
            ("plain text, a=b, no url", "plain text, a=b, no url"),
            ("é=x token=é", "é=x token=***"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(user in "[a-z]{0,8}", password in "[a-zA-Z0-9:@!$%^*]{0,6}S3CRET[a-zA-Z0-9:@!$%^*]{0,6}", tail in "[a-z/?&=]{0,12}") {
            let text = format!("open rtsp://{user}:{password}@cam/{tail} failed");
            let shown = redact(&text).into_owned();
            prop_assert!(!shown.contains("S3CRET"), "{}", shown);
            prop_assert!(shown.contains("@cam/"), "{}", shown);
        }

        #[test]
        fn any_text_is_taken(text in ".{0,60}") {
            let _ = redact(&text);
        }
    }
}
