//! Parts of the method that can be left out, to see what each of them is worth.

use std::{fmt, str::FromStr};

use super::Config;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ablation {
    /// Features are not looked at: pixels alone.
    Features,
    /// Pictures are not brought into the scene's light.
    Light,
    /// Nor into its place.
    Registration,
    /// A pixel is foreground by its colour's distance alone: shadows are.
    Shadows,
    /// Gaps across a thing stay.
    Gaps,
    /// The scene is not mended where something has left.
    Ghosts,
    /// The scene is learnt where things are, too.
    Hold,
    /// Things that touch are not told apart.
    Split,
    /// Parts of a thing stay things.
    Merge,
}

impl Ablation {
    /// All of them, in the order in which a frame meets them, as they are written.
    pub const ALL: [(Self, &str); 9] = [
        (Self::Features, "features"),
        (Self::Light, "light"),
        (Self::Registration, "registration"),
        (Self::Shadows, "shadows"),
        (Self::Gaps, "gaps"),
        (Self::Ghosts, "ghosts"),
        (Self::Hold, "hold"),
        (Self::Split, "split"),
        (Self::Merge, "merge"),
    ];
}

impl fmt::Display for Ablation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        Self::ALL.iter().filter(|(part, _)| part == self).try_for_each(|(_, name)| f.write_str(name))
    }
}

impl FromStr for Ablation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(part, _)| *part).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name);
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

impl Config {
    /// Leaves a part out.
    pub fn leave_out(&mut self, part: Ablation) {
        let flag = match part {
            Ablation::Features => &mut self.use_features,
            Ablation::Light => &mut self.follow_light,
            Ablation::Registration => &mut self.register,
            Ablation::Shadows => &mut self.foreground.weigh_cues,
            Ablation::Gaps => &mut self.foreground.fill_gaps,
            Ablation::Ghosts => &mut self.drop_ghosts,
            Ablation::Hold => &mut self.hold,
            Ablation::Split => &mut self.objects.split,
            Ablation::Merge => &mut self.objects.merge,
        };
        *flag = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_read_as_it_is_written_and_changes_the_config() {
        for (part, name) in Ablation::ALL {
            assert_eq!((part.to_string().as_str(), name.parse()), (name, Ok(part)));
            let mut config = Config::default();
            config.leave_out(part);
            assert_ne!(format!("{config:?}"), format!("{:?}", Config::default()), "{name}");
        }
        let error = "hold,split".parse::<Ablation>().unwrap_err();
        assert!(error.contains("registration"), "{error}");
    }
}
