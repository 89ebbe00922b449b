//! What the camera was judged by, drawn over time: share that looks like the scene, and shift.

use std::fmt::Write as _;

use maskd_fixed::verdict::{ENTER, LEAVE};

use crate::story::Measured;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
/// Room for words at the left, the right, above and below.
const ROOM: (f64, f64, f64, f64) = (46.0, 46.0, 20.0, 26.0);
/// Points that are drawn at most: of what lies between them, the least share and the largest shift are shown.
const POINTS: usize = 800;
/// Pixels of shift at least that the axis is for.
const LEAST_SHIFT: f64 = 5.0;

/// An SVG element; the moments in `restarts` (seconds) are those in which the scene was learnt anew.
pub fn svg(measures: &[Measured], restarts: &[f64]) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Share of the picture that looks like the scene, and \
         shift, over time\">\n"
    );
    let end = measures.last().map_or(1.0, |last| last.seconds).max(1e-3);
    let axes = Axes { end, most: measures.iter().map(shift).fold(LEAST_SHIFT, f64::max) };
    axes.bands(measures, &mut svg);
    axes.grid(&mut svg);
    let size = measures.len().div_ceil(POINTS).max(1);
    let mut lines = [String::new(), String::new()];
    for part in measures.chunks(size) {
        let x = axes.x(part[0].seconds);
        let same = part.iter().map(|m| f64::from(m.camera.same)).fold(1.0, f64::min);
        let _ = write!(lines[0], "{x:.1},{:.1} ", axes.y(same));
        let _ = write!(lines[1], "{x:.1},{:.1} ", axes.y(part.iter().map(shift).fold(0.0, f64::max) / axes.most));
    }
    for (line, class) in lines.iter().zip(["same", "shift"]) {
        let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", line.trim_end());
    }
    for x in restarts.iter().map(|seconds| axes.x(*seconds)) {
        let _ = writeln!(svg, "<path class=\"restart\" d=\"M{x:.1} {:.1}V{:.1}\"/>", axes.y(1.0), axes.y(0.0));
    }
    svg + "</svg>\n"
}

fn shift(measured: &Measured) -> f64 {
    f64::from(measured.camera.shift.0.hypot(measured.camera.shift.1))
}

struct Axes {
    /// Seconds of the whole width.
    end: f64,
    /// Pixels of shift of the whole height.
    most: f64,
}

impl Axes {
    fn x(&self, seconds: f64) -> f64 {
        ROOM.0 + seconds / self.end * (WIDTH - ROOM.0 - ROOM.1)
    }

    /// For a share of the height.
    fn y(&self, share: f64) -> f64 {
        HEIGHT - ROOM.3 - share.clamp(0.0, 1.0) * (HEIGHT - ROOM.2 - ROOM.3)
    }

    /// What the camera was taken for, and a line wherever that changed.
    fn bands(&self, measures: &[Measured], svg: &mut String) {
        let mut rest = measures;
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|m| m.camera.fixed == first.camera.fixed).count();
            let (from, to) = (self.x(first.seconds), self.x(rest.get(count).map_or(self.end, |next| next.seconds)));
            let (top, bottom, word) = (self.y(1.0), self.y(0.0), if first.camera.fixed { "fixed" } else { "moving" });
            let (width, height) = (to - from, bottom - top);
            let _ = writeln!(
                svg,
                "<rect class=\"{word}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
            if width > 44.0 {
                let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{word}</text>", from + 4.0, top - 6.0);
            }
            if rest.len() < measures.len() {
                let _ = writeln!(svg, "<path class=\"change\" d=\"M{from:.1} {top:.1}V{bottom:.1}\"/>");
            }
            rest = &rest[count..];
        }
    }

    /// Axes with their numbers; the shares by which the verdict goes.
    fn grid(&self, svg: &mut String) {
        let (left, right) = (self.x(0.0), self.x(self.end));
        for share in [0.0, f64::from(LEAVE), f64::from(ENTER), 1.0] {
            let y = self.y(share);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>");
            let (x, percent) = (left - 4.0, 100.0 * share);
            let _ = writeln!(svg, "<text class=\"same end\" x=\"{x:.1}\" y=\"{:.1}\">{percent:.0} %</text>", y + 4.0);
        }
        for share in [0.0, 0.5, 1.0] {
            let (x, y, pixels) = (right + 4.0, self.y(share) + 4.0, share * self.most);
            let _ = writeln!(svg, "<text class=\"shift\" x=\"{x:.1}\" y=\"{y:.1}\">{pixels:.1} px</text>");
        }
        for tick in 0..=8 {
            let seconds = self.end * f64::from(tick) / 8.0;
            let (x, y) = (self.x(seconds), HEIGHT - 8.0);
            let _ = writeln!(svg, "<text class=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{seconds:.1} s</text>");
        }
    }
}
