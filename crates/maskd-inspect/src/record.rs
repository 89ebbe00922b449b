//! One thing that happened, in the words that the page and the log have for it.

use maskd_fixed::events::{End, Restart};
use maskd_types::instance::{EndCause, InstanceId, Origin};

/// A frame of the clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Its number, from 0.
    pub frame: u64,
    /// The name of its file without the extension; for a video, its number.
    pub name: String,
    /// Seconds since the first frame.
    pub seconds: f64,
}

/// Whom something happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The camera.
    Camera,
    /// A published instance.
    Instance(InstanceId),
    /// A thing before a fixed camera.
    Thing(u32),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The frame's number, from 0.
    pub frame: u64,
    /// Seconds since the first frame.
    pub seconds: f64,
    /// Whom it happened to.
    pub who: Who,
    /// What it is.
    pub what: What,
}

/// What happened. Other things are named by their numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The camera is known to be fixed from now on, or no longer.
    Verdict {
        /// Which.
        fixed: bool,
    },
    /// The scene is learnt anew.
    Restarted(Restart),
    /// An instance is published for the first time, as something that moves.
    Published(Proof),
    /// An instance is published for the first time, of another origin.
    Appeared(Origin),
    /// An instance that was discovered before is followed as what moves from now on.
    Moves,
    /// An instance that was out of sight is seen again.
    Returned,
    /// It is known to be a thing of its own, which came apart from another.
    CameApart {
        /// From which.
        from: u32,
        /// When, in seconds.
        seconds: f64,
    },
    /// It touches this thing, or one covers the other.
    Touched(u32),
    /// It touches this thing no longer.
    Parted(u32),
    /// The thing ended.
    Left(End),
    /// The instance ended.
    Ended {
        /// Why.
        cause: EndCause,
        /// It was something that moves before a fixed camera.
        moved: bool,
        /// The camera is known to be fixed.
        fixed: bool,
    },
}

/// Why something is taken for a thing. Places and areas are in pixels of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The frame in which it was first seen, and its seconds; unknown where that was before the clip's scene was known.
    pub first: Option<(u64, f64)>,
    /// Its middle when it was published, `(x, y)`.
    pub place: (f32, f32),
    /// Its area then.
    pub area: f32,
    /// Frames in which it was seen, and those that are asked for.
    pub frames: (u32, u32),
    /// Seconds since it was first seen, and those that are asked for.
    pub seconds: (f32, f32),
    /// How far it had moved, and how far is asked for.
    pub travel: (f32, f32),
}

impl What {
    /// Its kind, for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Verdict { fixed: true } => "fixed",
            Self::Verdict { fixed: false } => "moving",
            Self::Restarted(_) => "restarted",
            Self::Published(_) | Self::Appeared(_) => "published",
            Self::Moves => "moves",
            Self::Returned => "returned",
            Self::CameApart { .. } => "came_apart",
            Self::Touched(_) => "touched",
            Self::Parted(_) => "parted",
            Self::Left(End::Merged { .. }) => "merged",
            Self::Left(End::Furniture { .. }) => "furniture",
            Self::Left(_) => "left",
            Self::Ended { .. } => "ended",
        }
    }

    /// In words, to follow the name of whom it happened to; `name` names other things.
    pub fn words(&self, name: &dyn Fn(u32) -> String) -> String {
        match self {
            Self::Verdict { fixed: true } => "is taken for fixed from now on".to_owned(),
            Self::Verdict { fixed: false } => "is taken for moving from now on".to_owned(),
            Self::Restarted(why) => format!("forgets the empty scene and learns it anew: {}", restart(*why)),
            Self::Published(proof) => format!("is published: {}", proof.words()),
            Self::Appeared(Origin::Discovered) => {
                "is published: it looks like an object, and the camera is not known to be fixed".to_owned()
            }
            Self::Appeared(_) => "is published: somebody asked for it".to_owned(),
            Self::Moves => "is followed as something that moves from now on".to_owned(),
            Self::Returned => "is seen again, and known by its place and its look".to_owned(),
            Self::CameApart { from, seconds } => format!("came apart from {} at {seconds:.2} s", name(*from)),
            Self::Touched(other) => format!("touches {}, or one covers the other", name(*other)),
            Self::Parted(other) => format!("touches {} no longer", name(*other)),
            Self::Left(end) => left(*end, name),
            Self::Ended { cause, moved, fixed } => ended(*cause, *moved, *fixed).to_owned(),
        }
    }
}

impl Proof {
    /// In words.
    pub fn words(&self) -> String {
        let (frames, seconds, travel) = (self.frames, self.seconds, self.travel);
        format!(
            "{:.0} pixels around ({:.0}, {:.0}) were seen in {} frames for {:.2} s and moved by {:.1} pixels \
             (asked for: {} frames, {:.3} s, {:.1} pixels)",
            self.area, self.place.0, self.place.1, frames.0, seconds.0, travel.0, frames.1, seconds.1, travel.1
        )
    }
}

fn restart(why: Restart) -> &'static str {
    match why {
        Restart::Size => "pictures have another size",
        Restart::Another => "it was turned, or most of the picture changed",
        Restart::Cut => "nothing of the last picture is in this one",
    }
}

fn left(end: End, name: &dyn Fn(u32) -> String) -> String {
    match end {
        End::OutOfSight { seconds } => format!("was out of sight for {seconds:.1} s"),
        End::Hidden { seconds } => format!("was hidden behind another for {seconds:.1} s"),
        End::LeftAtBorder { seconds } => {
            format!("left at the border of the picture, and was out of sight for {seconds:.1} s")
        }
        End::Merged { into } => format!("proved to be a part of {}", name(into)),
        End::Furniture { seconds } => format!("stood still for {seconds:.0} s: it is part of the scene now"),
        End::Restarted => "is forgotten: the scene is learnt anew".to_owned(),
    }
}

fn ended(cause: EndCause, moved: bool, fixed: bool) -> &'static str {
    match cause {
        EndCause::Lost if moved => "is given up: it did not come back",
        EndCause::Lost => "is given up: it was out of sight for too long, or is part of the scene",
        EndCause::Replaced if moved => "is given up: there are as many instances as there may be, and another one came",
        EndCause::Replaced if fixed => "is given up: it does not move, and the camera is fixed",
        EndCause::Replaced => "is given up: another one takes its place",
        EndCause::SceneCut => "is given up: the picture changed so much that nothing could be followed",
    }
}
