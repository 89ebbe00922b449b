//! `maskd reload`: has a running daemon read its configuration again, and says what has changed.

use anyhow::anyhow;
use clap::Args;

use super::{Exit, Failure, OrExit as _, options::Question};
use maskd_protocol::keys::Site;
use maskd_transport::{Reloading, reload};

/// Have a running daemon read its configuration again, where its [publish] control allows it.
#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// The daemon's site.
    #[arg(long, default_value_t = Site::default())]
    site: Site,
    #[command(flatten)]
    question: Question,
}

/// Runs `maskd reload`: prints what has changed as JSON, or fails with the refusal ([`Exit::Data`]).
///
/// # Errors
/// A configuration that was refused, and ([`Exit::Unavailable`]) nobody who answers.
pub fn run(args: ReloadArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.or_exit(Exit::Internal)?;
    let Question { connection, timeout } = &args.question;
    let asked = reload(&connection.connect, connection.zenoh_config.as_deref(), &args.site, *timeout);
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
                connection.connect.join(", "),
                timeout.as_secs_f64()
            );
            Err(Failure::new(Exit::Unavailable, why))
        }
    }
}
