//! The page: one HTML file without scripts, which needs nothing but the pictures beside it.

use std::fmt::Write as _;

use maskd_fixed::verdict::{ENTER, LEAVE, SECONDS};
use maskd_types::mask::palette;

use crate::{
    chart,
    html::escaped,
    lives::{Life, lives},
    pictures::{COLUMNS, PANELS},
    record::{Moment, What, Who},
    seal,
    story::{Story, spoken},
};

/// Lines that a list has at most; the log has all of them.
const MOST_LINES: usize = 60;
const STYLE: &str = include_str!("page.css");

/// What is known of the clip and of how it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The clip's name.
    pub clip: String,
    /// Anything else: what it is, and its value.
    pub more: Vec<(&'static str, String)>,
}

impl Facts {
    /// All of them, the clip first.
    pub fn lines(&self) -> Vec<(&str, &str)> {
        let more = self.more.iter().map(|(name, value)| (*name, value.as_str()));
        std::iter::once(("Clip", self.clip.as_str())).chain(more).collect()
    }
}

/// A picture that was taken.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Of which frame.
    pub moment: Moment,
    /// Its path from the page.
    pub file: String,
    /// What happened in the frame, in words.
    pub why: Vec<String>,
}

/// What a page is made of.
#[derive(Debug)]
pub struct Page<'a> {
    /// Of the clip.
    pub facts: &'a Facts,
    /// What happened.
    pub story: &'a Story,
    /// Pictures, in order.
    pub shots: &'a [Shot],
    /// Pictures that were not taken, since there were as many as there may be.
    pub left_out: usize,
    /// Why the clip was not looked at to its end.
    pub cut_short: Option<&'a str>,
}

impl Page<'_> {
    /// The whole file.
    pub fn html(&self) -> Vec<u8> {
        let (title, facts) = (escaped(&self.facts.clip), self.facts());
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>maskd inspect: {title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>What maskd made of {title}</h1>\n"
        );
        page += &self.summary();
        page += &self.camera();
        page += &self.instances();
        page += &self.pictures();
        let _ = writeln!(page, "<h2>How it was looked at</h2>\n{facts}</body>\n</html>\n<!-- {} -->", seal::blank());
        let mut bytes = page.into_bytes();
        seal::close(&mut bytes);
        bytes
    }

    fn facts(&self) -> String {
        let rows = self.facts.lines().into_iter();
        let rows = rows.map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value)));
        format!("<dl>\n{}</dl>\n", rows.collect::<String>())
    }

    fn summary(&self) -> String {
        let measures = &self.story.measures;
        let seconds = measures.last().map_or(0.0, |last| last.seconds);
        let mut items = vec![format!("{} frames were looked at, {seconds:.1} s.", measures.len())];
        items.extend(self.cut_short.map(|why| format!("The clip was not looked at to its end: {}", escaped(why))));
        let fixed = measures.iter().filter(|m| m.camera.fixed).count();
        let share = 100.0 * fixed as f64 / measures.len().max(1) as f64;
        items.push(match measures.iter().find(|m| m.camera.fixed) {
            Some(first) => format!(
                "The camera was taken for <b>fixed</b> in {share:.0} % of them, first at {:.1} s. Then instances are what \
                 moves.",
                first.seconds
            ),
            None => "The camera was taken for <b>moving</b> all the time. Then instances are what looks like an object."
                .to_owned(),
        });
        items.push(format!("{} instances were published.", self.story.palette.len()));
        let (still, moving) = self.story.candidates;
        items.push(format!(
            "{still} times something differed from the empty scene and did not become an instance: it was there too briefly, or \
             did not move far enough. ({moving} more times before the camera was known to be fixed.)"
        ));
        let items: String = items.iter().map(|item| format!("<li>{item}</li>\n")).collect();
        format!("<ul>\n{items}</ul>\n<p>All of it, frame by frame: <a href=\"log.jsonl\">log.jsonl</a>.</p>\n")
    }

    fn camera(&self) -> String {
        let story = self.story;
        let restarts = story.records.iter().filter(|record| matches!(record.what, What::Restarted(_)));
        let chart = chart::svg(&story.measures, &restarts.map(|record| record.seconds).collect::<Vec<_>>());
        let (enter, leave, (after, until)) = (100.0 * ENTER, 100.0 * LEAVE, SECONDS);
        let mut out = format!(
            "<h2>What the camera was taken for</h2>\n<p>It is taken for fixed when {enter:.0} % of the picture have looked like \
             the scene for {after:.1} s and the picture does not move one way (a shake is allowed), and for moving when less than \
             {leave:.0} % have for {until:.1} s. <span class=\"same\">Blue</span>: share that looks like the scene. \
             <span class=\"shift\">Orange</span>: pixels by which the picture is shifted. Dashed: the scene is learnt anew.</p>\n\
             {chart}"
        );
        let of_camera = story.records.iter().filter(|record| record.who == Who::Camera);
        let lines = of_camera.map(|record| {
            format!("<li>frame {}, {:.2} s: {}</li>\n", record.frame, record.seconds, escaped(&story.sentence(record)))
        });
        let lines: Vec<String> = lines.collect();
        out += &format!("<ul>\n{}</ul>\n", lines.iter().take(MOST_LINES).cloned().collect::<String>());
        if lines.len() > MOST_LINES {
            let _ = writeln!(out, "<p>{} more stand in the log.</p>", lines.len() - MOST_LINES);
        }
        out
    }

    fn instances(&self) -> String {
        let lives = lives(self.story);
        let mut out = "<h2>Instances</h2>\n".to_owned();
        if lives.is_empty() {
            return out + "<p>None. The pictures show whether anything was seen at all: look at <i>evidence</i>.</p>\n";
        }
        out += "<table>\n<tr><th>Who</th><th>First seen</th><th>Published</th><th>In contact with</th><th>What else \
                happened</th><th>End</th></tr>\n";
        out.extend(lives.iter().map(|life| self.row(life)));
        out + "</table>\n"
    }

    fn row(&self, life: &Life) -> String {
        let at = |at: Option<(u64, f64)>| at.map_or("-".to_owned(), |(frame, seconds)| self.link(frame, seconds));
        let colour =
            life.instance().and_then(|id| self.story.palette.get(&id)).map(|label| palette()[usize::from(*label)]);
        let swatch = colour.map_or(String::new(), |[r, g, b]| format!("<i style=\"background:rgb({r},{g},{b})\"></i>"));
        let contacts = life.contacts.iter().map(|contact| {
            let to = contact.to.map_or("the end".to_owned(), |to| format!("{to:.2} s"));
            format!("{}: {:.2} s to {to}<br>", spoken(contact.other), contact.from)
        });
        let notes = life.notes.iter().map(|(seconds, words)| format!("{seconds:.2} s: {}<br>", escaped(words)));
        let end = match &life.end {
            Some((frame, seconds, words)) => format!("{}<br>{}", self.link(*frame, *seconds), escaped(words)),
            None => "there to the last".to_owned(),
        };
        let why = life.why.as_deref().unwrap_or("was not published").trim_start_matches("is published: ");
        format!(
            "<tr><td>{swatch}{}</td><td>{}</td><td>{}<br>{}</td><td>{}</td><td>{}</td><td>{end}</td></tr>\n",
            spoken(life.who),
            at(life.first),
            at(life.published),
            escaped(why),
            contacts.collect::<String>(),
            notes.collect::<String>()
        )
    }

    /// A frame and its time, with a link to its picture where there is one.
    fn link(&self, frame: u64, seconds: f64) -> String {
        let text = format!("frame {frame}, {seconds:.2} s");
        match self.shots.iter().any(|shot| shot.moment.frame == frame) {
            true => format!("<a href=\"#frame-{frame}\">{text}</a>"),
            false => text,
        }
    }

    fn pictures(&self) -> String {
        let mut out = "<h2>Pictures</h2>\n".to_owned();
        if self.left_out > 0 {
            let (taken, left) = (self.shots.len(), self.left_out);
            let _ = writeln!(
                out,
                "<p><b>{taken} pictures are the most that were asked for (--pictures): {left} later ones are left out.</b></p>"
            );
        }
        let legend = PANELS.iter().map(|(name, what)| format!("<li><b>{name}</b>: {what}</li>\n"));
        let _ = write!(out, "<ol>\n{}</ol>\n", legend.collect::<String>());
        let names = |row: &[(&str, &str)]| {
            let cells: String = row.iter().map(|(name, _)| format!("<span>{name}</span>")).collect();
            format!("<div class=\"names\">{cells}</div>\n")
        };
        let (above, below) = PANELS.split_at(COLUMNS as usize);
        for Shot { moment, file, why } in self.shots {
            let Moment { frame, name, seconds } = moment;
            let (file, name) = (escaped(file), escaped(name));
            let why: String = why.iter().map(|words| format!("<br>{}", escaped(words))).collect();
            let _ = write!(
                out,
                "<figure id=\"frame-{frame}\">\n<figcaption><b>frame {frame} ({name}), {seconds:.2} s</b>{why}</figcaption>\n{}\
                 <a href=\"{file}\"><img src=\"{file}\" loading=\"lazy\" alt=\"frame {frame}: six pictures\"></a>\n{}</figure>\n",
                names(above),
                names(below)
            );
        }
        out
    }
}
