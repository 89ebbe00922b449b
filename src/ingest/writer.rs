//! TODO
pub struct Mp4Writer;
