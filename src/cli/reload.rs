//! `maskd reload`: has a running daemon read its configuration again, and says what has changed.

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use clap::Args;

use super::{Exit, Failure, OrExit as _};
use maskd_protocol::keys::Site;
use maskd_transport::{DEFAULT_ENDPOINT, Reloading, reload};

/// Have a running daemon read its configuration again, where its [publish] control allows it.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// The daemon's site.
    #[arg(long, default_value_t = Site::default())]
    site: Site,
    /// Where the daemon or a zenoh router listens; may be given several times.
    #[arg(long, value_name = "ENDPOINT", default_value = DEFAULT_ENDPOINT)]
    connect: Vec<String>,
    /// A zenoh configuration file (JSON5) to build on, for TLS: see configs/zenoh-reader.json5.
    #[arg(long, value_name = "FILE")]
    zenoh_config: Option<PathBuf>,
    /// How long to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::watch::seconds)]
    timeout: Duration,
}

/// Runs `maskd reload`: prints what has changed as JSON, or fails with the refusal ([`Exit::Data`]).
///
/// # Errors
/// A configuration that was refused, and ([`Exit::Unavailable`]) nobody who answers.
pub fn run(args: ReloadArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.or_exit(Exit::Internal)?;
    let asked = reload(&args.connect, args.zenoh_config.as_deref(), &args.site, args.timeout);
    match runtime.block_on(asked).or_exit(Exit::Unavailable)? {
        Reloading::Done(reloaded) => {
            println!("{}", serde_json::to_string(&reloaded).or_exit(Exit::Internal)?);
            Ok(())
        }
        Reloading::Refused(why) => {
            let faults = why.lines().map(|why| anyhow!("refused, the old one goes on: {why}"));
            Err(Failure::all(Exit::Data, faults))
        }
        Reloading::Unheard => {
            let why = anyhow!(
                "site {} did not answer at {} in {} s: check that maskd runs there with control = true in [publish], that \
                 its access control grants it to you, and --connect",
                args.site,
                args.connect.join(", "),
                args.timeout.as_secs_f64()
            );
            Err(Failure::new(Exit::Unavailable, why))
        }
    }
}
