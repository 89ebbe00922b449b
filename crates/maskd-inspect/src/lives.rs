//! What happened, by instance: one life for each, from its first mask to its end.

use std::collections::BTreeMap;

use maskd_fixed::events::End;
use maskd_types::instance::InstanceId;

use crate::{
    record::{Record, What, Who},
    story::{Story, spoken},
};

/// Contacts that are this many seconds apart are one.
const PAUSE: f64 = 0.5;

/// The life of an instance, or of a thing that was not published.
#[derive(Debug)]
pub struct Life {
    /// Whose.
    pub who: Who,
    /// When it was first seen, before anybody knew what it is: frame and seconds.
    pub first: Option<(u64, f64)>,
    /// When it was published.
    pub published: Option<(u64, f64)>,
    /// Why, in words.
    pub why: Option<String>,
    /// With whom it was in contact.
    pub contacts: Vec<Contact>,
    /// What else happened: when, and in words.
    pub notes: Vec<(f64, String)>,
    /// When and why it ended; none where it was there to the last.
    pub end: Option<(u64, f64, String)>,
}

/// Two that touch, or one of which covers the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contact {
    /// The other.
    pub other: Who,
    /// From when on, in seconds.
    pub from: f64,
    /// Until when; none where the last frame shows it.
    pub to: Option<f64>,
}

/// All lives: instances by their ids, then what was never published.
pub fn lives(story: &Story) -> Vec<Life> {
    let mut lives = Lives::default();
    for record in &story.records {
        lives.take(story, record);
    }
    let mut lives: Vec<Life> = lives.0.into_values().collect();
    lives.iter_mut().for_each(|life| life.notes.sort_by(|a, b| a.0.total_cmp(&b.0)));
    lives
}

#[derive(Default)]
struct Lives(BTreeMap<Who, Life>);

impl Lives {
    fn of(&mut self, who: Who) -> &mut Life {
        let new = || Life {
            who,
            first: None,
            published: None,
            why: None,
            contacts: Vec::new(),
            notes: Vec::new(),
            end: None,
        };
        self.0.entry(who).or_insert_with(new)
    }

    fn take(&mut self, story: &Story, record: &Record) {
        let (at, who) = ((record.frame, record.seconds), story.about(record));
        let words = story.words(record);
        match &record.what {
            What::Verdict { .. } | What::Restarted(_) => {}
            What::Published(proof) => {
                let life = self.of(who);
                (life.first, life.published, life.why) = (proof.first, Some(at), Some(words));
            }
            What::Appeared(_) => {
                let life = self.of(who);
                (life.published, life.why) = (Some(at), Some(words));
            }
            What::Moves => self.of(who).notes.push((at.1, words)),
            What::Returned => {
                let life = self.of(who);
                // It had not ended after all.
                let gone = life.end.take();
                life.notes.extend(gone.map(|(_, seconds, words)| (seconds, words)));
                life.notes.push((at.1, words));
            }
            What::CameApart { from, .. } => {
                self.of(who).notes.push((at.1, words));
                self.note(story, *from, at.1, format!("{} came apart from it", spoken(who)));
            }
            What::Touched(other) => {
                let other = story.name(*other, at.1);
                // What is seen again may be another thing while the former one is still looked for.
                if other != who {
                    self.of(who).touch(other, at.1);
                    self.of(other).touch(who, at.1);
                }
            }
            What::Parted(other) => {
                let other = story.name(*other, at.1);
                self.of(who).part(Some(other), at.1);
                self.of(other).part(Some(who), at.1);
            }
            What::Left(_) if !is_current(story, record) => {}
            What::Left(end) => {
                if let End::Merged { into } = end {
                    self.note(story, *into, at.1, format!("{} proved to be a part of it", spoken(who)));
                }
                self.close(who, at.1);
                self.of(who).end = Some((at.0, at.1, words));
            }
            What::Ended { .. } => {
                self.close(who, at.1);
                let life = self.of(who);
                match &mut life.end {
                    Some((_, _, said)) => *said = format!("{said}; given up at {:.2} s", at.1),
                    None => life.end = Some((at.0, at.1, words)),
                }
            }
        }
    }

    fn note(&mut self, story: &Story, thing: u32, seconds: f64, words: String) {
        let who = story.name(thing, seconds);
        self.of(who).notes.push((seconds, words));
    }

    /// It touches nobody any longer, and nobody touches it.
    fn close(&mut self, who: Who, seconds: f64) {
        self.of(who).part(None, seconds);
        self.0.values_mut().for_each(|life| life.part(Some(who), seconds));
    }
}

/// Whether the instance is what ended, and has not been seen again as another thing.
fn is_current(story: &Story, record: &Record) -> bool {
    match record.who {
        Who::Thing(thing) => story.is_current(thing, record.seconds),
        _ => true,
    }
}

impl Life {
    fn touch(&mut self, other: Who, seconds: f64) {
        let last = self.contacts.iter_mut().rfind(|contact| contact.other == other);
        match last.filter(|contact| contact.to.is_none_or(|to| seconds - to < PAUSE)) {
            Some(contact) => contact.to = None,
            None => self.contacts.push(Contact { other, from: seconds, to: None }),
        }
    }

    /// With `other`, or with everybody.
    fn part(&mut self, other: Option<Who>, seconds: f64) {
        let open = self.contacts.iter_mut().filter(|contact| contact.to.is_none());
        open.filter(|contact| other.is_none_or(|other| contact.other == other))
            .for_each(|contact| contact.to = Some(seconds));
    }

    /// Its number, where it was published.
    pub fn instance(&self) -> Option<InstanceId> {
        match self.who {
            Who::Instance(id) => Some(id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
