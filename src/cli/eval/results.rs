//! Where an evaluation writes, and whose masks it judges: the same options and one check for all of them.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::{Exit, Failure};
use maskd_types::files::Inputs;

/// Masks that are made, or masks that are there.
#[derive(Args, Clone, Debug)]
pub(super) struct Results {
    /// Where masks, tables and report go; made if absent
    #[arg(short, long, value_name = "DIR", required_unless_present = "results")]
    out: Option<PathBuf>,
    /// Run finished sequences again, and replace maskd's masks of other settings; what it did not make stays
    #[arg(long)]
    pub(super) again: bool,
    /// Judge the masks in DIR/SEQUENCE/, of whatever method, and run nothing. Tables go to OUT, or to DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["again", "weights"])]
    results: Option<PathBuf>,
}

/// The folders of an evaluation.
pub(super) struct Folders {
    /// Masks, one folder for each sequence.
    pub(super) masks: PathBuf,
    /// Tables and the report.
    pub(super) out: PathBuf,
    /// Whether the masks are to be made; else they are there.
    pub(super) runs: bool,
    /// What messages call `out`.
    pub(super) role: &'static str,
}

impl Results {
    /// The folders that were named; results that are to be judged must be there.
    pub(super) fn folders(&self) -> Result<Folders, Failure> {
        let (masks, out, runs, role) = match (&self.results, &self.out) {
            (Some(results), _) if !results.is_dir() => {
                let error = anyhow!("{}: there is no such folder of results", results.display());
                return Err(Failure::new(Exit::Data, error));
            }
            (Some(results), Some(out)) => (results, out, false, "--out"),
            (Some(results), None) => (results, results, false, "--results, which is where tables go without --out,"),
            (None, Some(out)) => (out, out, true, "--out"),
            (None, None) => return Err(Failure::new(Exit::Internal, anyhow!("neither --out nor --results"))),
        };
        Ok(Folders { masks: masks.clone(), out: out.clone(), runs, role })
    }
}

impl Folders {
    /// Refuses a folder for outputs that is among `inputs`; where masks are made, that of each sequence, too.
    pub(super) fn keep_apart<'a>(
        &self,
        inputs: &Inputs,
        mut sequences: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<()> {
        let refuse = |path: &Path| inputs.refuse(self.role, path);
        refuse(&self.out)?;
        if self.runs {
            sequences.try_for_each(|name| refuse(&self.out.join(name)))?;
        }
        Ok(())
    }
}
