//! What a fixed camera sees.

pub mod background;
pub mod boxes;
pub mod camera;
pub mod components;
pub mod evidence;
pub mod foreground;
pub mod light;
pub mod necks;
pub mod objects;
pub mod patches;
pub mod planes;
pub mod recent;
pub mod register;
pub mod template;
pub mod verdict;
