//! What can be set about a camera.

use crate::{foreground::ForegroundConfig, objects::ObjectsConfig, patches::PatchesConfig};

/// All that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether pictures are brought into the scene's light.
    pub follow_light: bool,
    /// Whether pictures are brought into the scene's place.
    pub register: bool,
    /// Whether features are looked at.
    pub use_features: bool,
    /// Whether the scene is mended where something has left.
    pub drop_ghosts: bool,
    /// Whether the scene is not learnt where things are.
    pub hold: bool,
    /// Foreground.
    pub foreground: ForegroundConfig,
    /// Things.
    pub objects: ObjectsConfig,
    /// Features.
    pub patches: PatchesConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            follow_light: true,
            register: true,
            use_features: true,
            drop_ghosts: true,
            hold: true,
            foreground: ForegroundConfig::default(),
            objects: ObjectsConfig::default(),
            patches: PatchesConfig::default(),
        }
    }
}
