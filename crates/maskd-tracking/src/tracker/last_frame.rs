//! The frame before, as far as the next one is compared with it.

use std::sync::Arc;

use maskd_types::{
    features::{Features, Grid},
    frame::Size,
};

/// The frame before, as far as the next one is compared with it.
#[derive(Default)]
pub struct LastFrame {
    /// Its features; none before the first frame, and after the network was exchanged.
    pub features: Option<Arc<Features>>,
    /// Its grid, where the network was exchanged since: nothing that is remembered can be compared with what comes.
    pub exchanged: Option<Grid>,
    /// Its size.
    pub source: Option<Size>,
    /// The connection that it came over.
    pub epoch: Option<u32>,
}
