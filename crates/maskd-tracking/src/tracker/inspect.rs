//! What the last step made of a frame, to be looked at: for people who want to know why.

use super::Tracker;
use maskd_fixed::camera::View;
use maskd_types::instance::InstanceId;

/// What a tracker knows after a step, beside what it gives out.
#[derive(Clone, Debug)]
pub struct Inspection<'a> {
    /// The camera as a fixed one. Its planes are empty where the tracker looks at no pictures.
    pub view: View<'a>,
    /// Instances that have not ended, oldest first, those out of sight included.
    pub followed: Vec<Followed>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its identity.
    pub id: InstanceId,
    /// Its label in published maps.
    pub palette: u8,
    /// The thing of the view that it is. Things that are no instance are not published.
    pub thing: Option<u32>,
}

impl Tracker {
    /// What the last step made of its frame.
    pub fn inspect(&self) -> Inspection<'_> {
        let followed =
            |track: &super::track::Track| Followed { id: track.id, palette: track.palette, thing: track.thing };
        Inspection {
            view: self.state.camera.view(),
            followed: self.state.instances.tracks.iter().map(followed).collect(),
        }
    }
}
