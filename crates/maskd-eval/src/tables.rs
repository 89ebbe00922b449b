//! Scores as others read them: the official evaluator's two CSV files, and a table for people.

use std::fmt::Write as _;

use super::{Report, Statistics};

/// The name of the CSV file with the figures of a whole set, as `evaluation_method.py` of davis2017-evaluation has it.
pub fn global_csv_name(set: &str) -> String {
    format!("global_results-{set}.csv")
}

/// The name of the CSV file with a line for each object.
pub fn per_sequence_csv_name(set: &str) -> String {
    format!("per-sequence_results-{set}.csv")
}

/// The official table of global figures.
pub fn global_csv(report: &Report) -> String {
    let (j, f) = (report.j, report.f);
    let values = [report.j_and_f(), j.mean, j.recall, j.decay, f.mean, f.recall, f.decay].map(cell);
    format!("J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n{}\n", values.join(","))
}

/// The official table of objects.
pub fn per_sequence_csv(report: &Report) -> String {
    let mut csv = "Sequence,J-Mean,F-Mean\n".to_owned();
    for object in &report.objects {
        let (j, f) = (cell(object.j.mean), cell(object.f.mean));
        let _ = writeln!(csv, "{}_{},{j},{f}", object.sequence, object.object);
    }
    csv
}

/// Empty where there is no number, as pandas writes it.
fn cell(value: f64) -> String {
    if value.is_nan() { String::new() } else { format!("{value:.3}") }
}

/// What a table for people says beside the scores of a sequence.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The sequence.
    pub sequence: String,
    /// Its frames.
    pub frames: usize,
    /// Mean intersection over union of its objects in the first frame, where those were prompted for.
    pub first_frame: Option<f64>,
    /// Milliseconds per frame of the network and of tracking, where they were measured.
    pub milliseconds: Option<(f64, f64)>,
}

/// A line for each sequence, one for all, in per cent; `total` holds the milliseconds over all frames.
pub fn for_people(report: &Report, rows: &[Row], total: Option<(f64, f64)>) -> String {
    let width = rows.iter().map(|row| row.sequence.len()).max().unwrap_or(0).max(8);
    let mut text = format!("{:width$} {:>7} {:>6} {:>6} {:>6} {:>6}", "sequence", "objects", "frames", "J", "F", "J&F");
    let timed = total.is_some();
    let prompted = rows.iter().any(|row| row.first_frame.is_some());
    text.push_str(if prompted { "  first frame" } else { "" });
    text.push_str(if timed { "  backbone ms  tracking ms\n" } else { "\n" });
    let mut line = |row: &Row, objects: usize, j: f64, f: f64| {
        let (name, frames) = (&row.sequence, row.frames);
        let [j, f, both] = [j, f, (j + f) / 2.0].map(|value| 100.0 * value);
        let _ = write!(text, "{name:width$} {objects:>7} {frames:>6} {j:>6.1} {f:>6.1} {both:>6.1}");
        if prompted {
            let _ = write!(text, " {:>12.1}", 100.0 * row.first_frame.unwrap_or(f64::NAN));
        }
        if let Some((backbone, track)) = row.milliseconds {
            let _ = write!(text, " {backbone:>12.1} {track:>12.1}");
        }
        text.push('\n');
    };
    let mut first_frames = 0.0;
    for row in rows {
        let own = || report.objects.iter().filter(|object| object.sequence == row.sequence);
        let j = Statistics::mean(&own().map(|object| object.j).collect::<Vec<_>>());
        let f = Statistics::mean(&own().map(|object| object.f).collect::<Vec<_>>());
        line(row, own().count(), j.mean, f.mean);
        first_frames += row.first_frame.unwrap_or(0.0) * own().count() as f64;
    }
    let all = Row {
        sequence: "all".to_owned(),
        frames: rows.iter().map(|row| row.frames).sum(),
        first_frame: prompted.then(|| first_frames / report.objects.len().max(1) as f64),
        milliseconds: total,
    };
    line(&all, report.objects.len(), report.j.mean, report.f.mean);
    let (j, f) = (report.j, report.f);
    let [jr, jd, fr, fd] = [j.recall, j.decay, f.recall, f.decay].map(|value| 100.0 * value);
    let _ = writeln!(text, "recall: J {jr:.1}, F {fr:.1}; decay: J {jd:.1}, F {fd:.1}; the mean is over objects");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectScore;

    fn statistics(mean: f64) -> Statistics {
        Statistics { mean, recall: 1.0, decay: -0.0004 }
    }

    fn report() -> Report {
        let object = |sequence: &str, object, mean| ObjectScore {
            sequence: sequence.into(),
            object,
            proposal: object,
            annotated: object,
            j: statistics(mean),
            f: statistics(mean + 0.1),
        };
        Report::of(vec![object("dog", 1, 0.5), object("dog", 2, 0.25), object("car-shadow", 1, 0.75)]).unwrap()
    }

    #[test]
    fn csv_files_are_the_official_ones() {
        assert_eq!(
            (global_csv_name("val"), per_sequence_csv_name("val")),
            ("global_results-val.csv".to_owned(), "per-sequence_results-val.csv".to_owned())
        );
        let global = "J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n\
                      0.550,0.500,1.000,-0.000,0.600,1.000,-0.000\n";
        assert_eq!(global_csv(&report()), global);
        let objects = "Sequence,J-Mean,F-Mean\ndog_1,0.500,0.600\ndog_2,0.250,0.350\ncar-shadow_1,0.750,0.850\n";
        assert_eq!(per_sequence_csv(&report()), objects);
        assert_eq!(cell(f64::NAN), "");
    }

    #[test]
    fn people_see_means_of_sequences_in_per_cent() {
        let row =
            |sequence: &str, ms| Row { sequence: sequence.into(), frames: 20, first_frame: None, milliseconds: ms };
        let rows = [row("dog", Some((100.0, 7.25))), row("car-shadow", Some((90.0, 6.0)))];
        let table = for_people(&report(), &rows, Some((95.0, 6.5)));
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["dog", "2", "20", "37.5", "47.5", "42.5", "100.0", "7.2"]);
        assert_eq!(words[3], ["all", "3", "40", "50.0", "60.0", "55.0", "95.0", "6.5"]);
        assert!(!for_people(&report(), &rows, None).contains("ms"));
        // The first frame of prompted objects; the mean is over objects.
        let prompted = [(&rows[0], 0.9), (&rows[1], 0.6)].map(|(row, iou)| Row {
            first_frame: Some(iou),
            milliseconds: None,
            ..row.clone()
        });
        let table = for_people(&report(), &prompted, None);
        let last = |line: usize| table.lines().nth(line).unwrap().split_whitespace().last().unwrap().to_owned();
        assert!(table.lines().next().unwrap().ends_with("first frame"), "{table}");
        assert_eq!([1, 2, 3].map(last), ["90.0", "60.0", "80.0"]);
    }
}
