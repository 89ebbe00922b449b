//! Parts of the method that can be left out, to see what each of them is worth.

use serde::{Deserialize, Serialize};

use super::Config;

/// One of them. It is written in lower case, as in [`Ablation::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ablation {
    /// Features are not looked at: pixels alone.
    Features,
    /// Pictures are not brought into the scene's light.
    Light,
    /// Pictures are not brought into the scene's place.
    Registration,
    /// A pixel is foreground by its colour's distance alone, so that cast shadows are foreground.
    Shadows,
    /// Gaps across a thing are not filled.
    Gaps,
    /// The scene is not mended where something has left.
    Ghosts,
    /// The scene is learnt where things are, too.
    Hold,
    /// Things that touch are not told apart.
    Split,
    /// Parts of a thing are not joined.
    Merge,
}

impl Ablation {
    /// How they are written, in the order in which a frame meets them.
    pub const NAMES: [&str; 9] =
        ["features", "light", "registration", "shadows", "gaps", "ghosts", "hold", "split", "merge"];
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
    use serde::de::{IntoDeserializer as _, value::Error};

    use super::*;

    fn read(name: &str) -> Result<Ablation, Error> {
        Ablation::deserialize(name.into_deserializer())
    }

    #[test]
    fn each_part_is_read_as_it_is_written_and_changes_the_config() {
        for name in Ablation::NAMES {
            let part = read(name).unwrap();
            assert_eq!(format!("{part:?}").to_lowercase(), name);
            let mut config = Config::default();
            config.leave_out(part);
            assert_ne!(format!("{config:?}"), format!("{:?}", Config::default()), "{name}");
        }
        let error = read("hold,split").unwrap_err().to_string();
        assert!(Ablation::NAMES.iter().all(|name| error.contains(name)), "{error}");
    }
}
