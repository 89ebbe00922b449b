//! The figures as a table for people and as CSV.

use std::fmt::Write as _;

use super::{
    figures::{Figures, Identities},
    judge::SequenceFigures,
};
use crate::Milliseconds;

/// What the line of means is called.
const MEAN: &str = "mean";

/// One line of a table.
struct Line<'a> {
    name: &'a str,
    judged: usize,
    figures: Figures,
    identities: Option<Identities>,
}

/// The lines of all sequences, and last that of the means where there are any.
fn lines(all: &[SequenceFigures]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = (all.iter())
        .map(|one| Line { name: &one.name, judged: one.judged, figures: one.figures, identities: one.identities })
        .collect();
    let identities = Identities::mean(&all.iter().filter_map(|one| one.identities).collect::<Vec<_>>());
    let figures = Figures::mean(&all.iter().map(|one| one.figures).collect::<Vec<_>>());
    lines.extend(figures.map(|figures| Line {
        name: MEAN,
        judged: all.iter().map(|one| one.judged).sum(),
        figures,
        identities,
    }));
    lines
}

/// A line for each sequence and one of means, over sequences. `milliseconds` per frame, of each sequence and then of all
/// frames, are told where masks were made.
pub fn for_people(all: &[SequenceFigures], milliseconds: &[Milliseconds]) -> String {
    let lines = lines(all);
    let named = lines.iter().any(|line| line.identities.is_some());
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0).max(8);
    let mut text = format!("{:width$} {:>6}", "sequence", "frames");
    let names = Identities::NAMES.iter().filter(|_| named);
    Figures::NAMES.iter().chain(names).for_each(|name| _ = write!(text, " {name:>6}"));
    text.push_str(if milliseconds.is_empty() { "\n" } else { "  backbone ms  tracking ms\n" });
    for (i, line) in lines.iter().enumerate() {
        let _ = write!(text, "{:width$} {:>6}", line.name, line.judged);
        line.figures.values().iter().for_each(|value| _ = write!(text, " {value:>6.1}"));
        let told = line.identities.map_or([None; 4], |identities| identities.values());
        for value in told.iter().filter(|_| named) {
            let _ = match value {
                Some(value) => write!(text, " {value:>6.1}"),
                None => write!(text, " {:>6}", "-"),
            };
        }
        if let Some(ms) = milliseconds.get(i) {
            let _ = write!(text, " {:>12.1} {:>12.1}", ms.backbone, ms.track);
        }
        text.push('\n');
    }
    text
}

/// The same as CSV, names of sequences first; cells are empty where there is no figure.
pub fn csv(all: &[SequenceFigures]) -> String {
    let mut text = format!("sequence,frames,{},{}\n", Figures::NAMES.join(","), Identities::NAMES.join(","));
    for line in lines(all) {
        // A folder may have any name.
        let quoted = line.name.contains([',', '"', '\n']).then(|| format!("\"{}\"", line.name.replace('"', "\"\"")));
        let _ = write!(text, "{},{}", quoted.as_deref().unwrap_or(line.name), line.judged);
        let told = line.identities.map_or([None; 4], |identities| identities.values());
        for value in line.figures.values().into_iter().map(Some).chain(told) {
            let _ = write!(text, ",{}", value.map(|value| format!("{value:.3}")).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, f1: f64, identities: Option<Identities>) -> SequenceFigures {
        let figures = Figures { f1, switches: 3.0, ..Figures::default() };
        SequenceFigures { name: name.into(), judged: 10, figures, identities }
    }

    #[test]
    fn means_are_over_sequences_and_absent_figures_have_no_digits() {
        let told = Identities { idf1: 80.0, switches: 1.0, parted: 0.0, wrong_after_parting: None };
        let all = [one("gate", 50.0, Some(told)), one("a,b", 25.0, None)];
        let zeros = "0.000,0.000";
        let expected = format!(
            "sequence,frames,P,R,F1,IoU,PQ,RQ,SQ,frag,ids,sw,IDF1,IDsw,parted,wrong\n\
             gate,10,{zeros},50.000,0.000,{zeros},{zeros},0.000,3.000,80.000,1.000,0.000,\n\
             \"a,b\",10,{zeros},25.000,0.000,{zeros},{zeros},0.000,3.000,,,,\n\
             mean,20,{zeros},37.500,0.000,{zeros},{zeros},0.000,3.000,80.000,1.000,0.000,\n"
        );
        assert_eq!(csv(&all), expected);
        let ms = Milliseconds { preprocess: 1.0, backbone: 40.0, track: 2.25 };
        let table = for_people(&all, &[ms; 3]);
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0][..5], ["sequence", "frames", "P", "R", "F1"]);
        assert_eq!(
            words[1][4..],
            ["50.0", "0.0", "0.0", "0.0", "0.0", "0.0", "0.0", "3.0", "80.0", "1.0", "0.0", "-", "40.0", "2.2"]
        );
        assert_eq!(words[2][11..15], ["3.0", "-", "-", "-"]);
        assert_eq!((words[3][0], words[3][4]), ("mean", "37.5"));
        let plain = for_people(&all[1..], &[]);
        assert!(!plain.contains("IDF1") && !plain.contains("ms"), "{plain}");
        assert_eq!(for_people(&[], &[]).lines().count(), 1);
    }
}
