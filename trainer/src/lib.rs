//! `maskd-train` trains the vision transformer that `maskd` runs, without labels: by DINO (Caron et al. 2021), or by
//! distilling it from a larger one.
//!
//! ```text
//! data (images, video) -> augment (multi-crop) -> network (student, teacher) -> loss -> optim -> checkpoint, log, export
//! ```
//!
//! The modules stand in the order of that flow, and import only what stands before them.

pub mod augment;
pub mod data;

pub mod loss;
pub mod network;
pub mod optim;
pub mod schedule;

pub mod diagnostics;
pub mod learner;
pub mod method;

pub mod distill;

pub mod quality;

pub mod config;

pub mod checkpoint;
pub mod run_folder;

pub mod report;

pub mod log;
pub mod progress;
pub mod watch;

pub mod export;
pub mod prepare;
pub mod train;

pub mod cli;
