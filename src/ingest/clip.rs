//! TODO
pub struct Clip;
pub struct ClipFrame;
