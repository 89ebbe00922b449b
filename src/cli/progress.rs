//! The progress bar of the offline commands, the same for all of them.

use indicatif::{ProgressBar, ProgressStyle};

const OF_A_KNOWN_NUMBER: &str = "{bar:30} {pos}/{len} frames  {per_sec}  ETA {eta}  {msg}";
const OF_AN_UNKNOWN_NUMBER: &str = "{spinner} {pos} frames  {per_sec}  {msg}";

/// A bar over `total` frames, or a count where nobody knows how many come. It is drawn on standard error, and only where
/// that is a terminal.
pub(super) fn bar(total: Option<usize>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total as u64), OF_A_KNOWN_NUMBER),
        None => (ProgressBar::new_spinner(), OF_AN_UNKNOWN_NUMBER),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_ones_that_indicatif_reads_and_tell_count_and_rate() {
        for template in [OF_A_KNOWN_NUMBER, OF_AN_UNKNOWN_NUMBER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
            assert!(template.contains("{pos}") && template.contains("{per_sec}"), "{template}");
        }
        assert!(OF_A_KNOWN_NUMBER.contains("{eta}"));
        assert_eq!((bar(Some(7)).length(), bar(None).length()), (Some(7), None));
    }
}
