//! How much memory the network needs, and whether it ever needs more.

use anyhow::{Context, Result};

use super::{
    child,
    network::{S8, TI16, write_random},
    report::Memory,
};

/// Frames that memory must not grow over.
const FRAMES: &str = "1000";

pub fn measure() -> Result<Memory> {
    let folder = tempfile::tempdir()?;
    let (large, small) = (folder.path().join("vits8.safetensors"), folder.path().join("vitti16.safetensors"));
    write_random(&S8, &large)?;
    write_random(&TI16, &small)?;
    let peak = child::ask(&["peak", large.to_str().context("a folder's name")?, "832", "480", "3"])?;
    let steady = child::ask(&["steady", small.to_str().context("a folder's name")?, FRAMES])?;
    Ok(Memory { peak, steady })
}
