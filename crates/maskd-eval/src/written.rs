//! The files that an evaluation leaves beside the masks, `report.json` and the official tables, and how they are known
//! again as ours.

use std::{collections::BTreeMap, io, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Report, Summary, global_csv, global_csv_name, per_sequence_csv, per_sequence_csv_name};
use maskd_types::files::{self, OutputError};

const REPORT: &str = "report.json";

/// What `report.json` says of who made it and the tables beside it.
#[derive(Deserialize)]
struct Signature {
    made_by: String,
    #[serde(default)]
    tables: BTreeMap<String, String>,
}

/// The signature of a report of maskd; none where somebody else wrote the file, or nobody.
fn signature(folder: &Path) -> Option<Signature> {
    let text = files::read_text(&folder.join(REPORT)).ok()?;
    serde_json::from_str(&text).ok().filter(|signature: &Signature| signature.made_by == super::report::MADE_BY)
}

/// The official evaluator writes tables that look the same: the report beside ours tells them apart by their hashes.
fn is_own_table(path: &Path) -> io::Result<bool> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let digest = sha256(&files::read_text(path)?);
    Ok(signature(folder).is_some_and(|s| s.tables.get(&*name.to_string_lossy()) == Some(&digest)))
}

fn is_own_report(path: &Path) -> io::Result<bool> {
    Ok(path.parent().and_then(signature).is_some())
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Checks that the report and the tables of `set` can be written to `folder`.
///
/// # Errors
/// One of them is there and is not maskd's.
pub fn check_written(folder: &Path, set: &str) -> Result<(), OutputError> {
    check_files(folder, &[global_csv_name(set), per_sequence_csv_name(set)])
}

/// Checks that the report and tables of these names can be written to `folder`.
///
/// # Errors
/// One of them is there and is not maskd's.
pub(crate) fn check_files(folder: &Path, tables: &[String]) -> Result<(), OutputError> {
    for name in tables {
        files::check_target(&folder.join(name), &is_own_table)?;
    }
    files::check_target(&folder.join(REPORT), &is_own_report).map(drop)
}

/// Writes the official tables to `folder`, where there are scores, and the report, which vouches for them.
///
/// # Errors
/// As [`check_written`], and a folder that cannot be written to.
pub fn write_results(folder: &Path, report: Option<&Report>, mut summary: Summary) -> Result<()> {
    let tables = report.map(|report| {
        [
            (global_csv_name(&summary.set), global_csv(report)),
            (per_sequence_csv_name(&summary.set), per_sequence_csv(report)),
        ]
    });
    write_files(folder, tables.as_ref().map_or(&[], |tables| tables.as_slice()), |tables| {
        summary.tables = tables;
        serde_json::to_string_pretty(&summary).context("This is a bug: the report cannot be written as JSON")
    })
}

/// Writes tables, by name, and then the report that `report` makes of the hashes of all tables in the folder.
///
/// # Errors
/// As [`check_files`], and a folder that cannot be written to.
pub(crate) fn write_files(
    folder: &Path,
    tables: &[(String, String)],
    report: impl FnOnce(BTreeMap<String, String>) -> Result<String>,
) -> Result<()> {
    // Tables of other sets in the folder stay ours.
    let mut known = signature(folder).map(|signature| signature.tables).unwrap_or_default();
    for (name, text) in tables {
        write_text(&folder.join(name), &is_own_table, text)?;
        known.insert(name.clone(), sha256(text));
    }
    Ok(write_text(&folder.join(REPORT), &is_own_report, &report(known)?)?)
}

/// Writes a text file whole or not at all, over nothing but what `is_ours` knows.
pub(super) fn write_text(
    path: &Path,
    is_ours: &dyn Fn(&Path) -> io::Result<bool>,
    text: &str,
) -> Result<(), OutputError> {
    files::write(path, is_ours, |file| io::Write::write_all(file, text.as_bytes()))
}
