//! Text for HTML.

/// `text` as HTML shows it, in elements and in attributes within quotes: whatever it holds, it opens and closes nothing.
/// Control characters, which HTML does not have, become a replacement character.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_opened_or_closed() {
        let hostile = "<script>alert(\"&\")</script>' onload=x\0\u{7f}";
        let text = escaped(hostile);
        assert!(!text.contains(['<', '>', '"', '\'', '\0', '\u{7f}']), "{text}");
        assert!(text.starts_with("&lt;script&gt;alert(&quot;&amp;&quot;)"), "{text}");
        assert_eq!(escaped("Straße 7.mp4"), "Straße 7.mp4");
    }
}
