//! The curves of a run as one picture, drawn from its log: loss beside ln K, the teacher's entropy or the student's
//! agreement, and quality.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use image::RgbImage;
use plotters::{coord::Shift, prelude::*, style::register_font};
use serde_json::Value;

use crate::report::{Observer, Quality};

const SIZE: (u32, u32) = (960, 960);
const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 91, 20), RGBColor(44, 140, 60)];

/// Named points (step, value).
type Series = (&'static str, Vec<(f64, f64)>);

/// Draws the curves anew whenever quality was measured.
pub struct Curves {
    log: PathBuf,
    picture: PathBuf,
}

impl Curves {
    /// From `log` to `picture`.
    pub fn new(log: PathBuf, picture: PathBuf) -> Self {
        Self { log, picture }
    }
}

impl Observer for Curves {
    fn on_quality(&mut self, step: u64, _: &Quality) -> Result<()> {
        if step > 0
            && let Err(e) = draw(&self.log, &self.picture)
        {
            tracing::warn!("curves at step {step}: {e:#}");
        }
        Ok(())
    }
}

/// Draws the run's `log` as the PNG `picture`.
///
/// # Errors
/// A log that cannot be read or says nothing; a picture that cannot be written.
pub fn draw(log: &Path, picture: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let points = |path: &[&str]| -> Vec<(f64, f64)> {
        let value = |line: &Value| path.iter().try_fold(line, |v, key| v.get(key))?.as_f64();
        lines.iter().filter_map(|line| Some((line["step"].as_f64()?, value(line)?))).collect()
    };
    let panels: [(&str, Vec<Series>); 4] = [
        ("Loss", vec![("mean loss", points(&["mean_loss"])), ("ln K", points(&["health", "uniform"]))]),
        (
            "Teacher",
            vec![
                ("entropy of one output", points(&["health", "teacher_entropy"])),
                ("entropy of their mean", points(&["health", "usage_entropy"])),
                ("KL to the student", points(&["health", "kl"])),
            ],
        ),
        (
            "Student",
            vec![
                ("unexplained, propagation", points(&["agreement", "propagation"])),
                ("KL of affinities", points(&["agreement", "affinity"])),
                ("unexplained, discovery", points(&["agreement", "discovery"])),
            ],
        ),
        (
            "Quality",
            vec![("J of label propagation", points(&["quality", "j"])), ("k-NN accuracy", points(&["quality", "knn"]))],
        ),
    ];
    let shown: Vec<_> = panels.into_iter().filter(|(_, all)| all.iter().any(|s| !s.1.is_empty())).collect();
    ensure!(!shown.is_empty(), "{}: it holds no step yet", log.display());

    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| anyhow!("the font is damaged"))?;
    let mut pixels = vec![255u8; (SIZE.0 * SIZE.1 * 3) as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
        let cause = |e: DrawingAreaErrorKind<_>| anyhow!("drawing: {e}");
        root.fill(&WHITE).map_err(cause)?;
        for (area, (title, series)) in root.split_evenly((shown.len(), 1)).iter().zip(&shown) {
            panel(area, title, series).map_err(cause)?;
        }
        root.present().map_err(cause)?;
    }
    let image = RgbImage::from_raw(SIZE.0, SIZE.1, pixels).context("the picture is not of its size")?;
    Ok(maskd_model::attention::write_png(&image, picture)?)
}

fn panel<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    title: &str,
    series: &[Series],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let all = || series.iter().flat_map(|(_, points)| points);
    let (x, y) = (range(all().map(|p| p.0)), range(all().map(|p| p.1)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(x, y)?;
    let mesh = &mut chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 13))
        .x_desc("step")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    for ((name, points), colour) in series.iter().zip(COLOURS).filter(|(s, _)| !s.1.is_empty()) {
        let line = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 13))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::MiddleRight)
        .draw()
}

/// From the least to the greatest, with room around.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    let room = ((high - low) * 0.05).max(1e-3);
    low - room..high + room
}
