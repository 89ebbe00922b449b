//! A stand-in for the augmentation room until it is merged: its configuration alone.

mod config;

pub use config::CropConfig;
