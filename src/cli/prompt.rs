//! `maskd prompt`: asks a running daemon to follow something, and says whether it will.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::{
    Exit, Failure, OrExit as _,
    options::{Pointing, Question},
};
use maskd_protocol::keys::Site;
use maskd_transport::{Answer, ask};
use maskd_types::{
    frame::StreamId,
    instance::Prompt,
    mask::{FirstMask, Rle},
};

/// Ask a running daemon to follow something in a stream, in pixels of the camera's picture.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["bbox", "point", "mask", "reset"]))]
pub struct PromptArgs {
    /// The stream's name.
    stream: StreamId,
    #[command(flatten)]
    pointing: Pointing,
    /// One new instance with this mask: a PNG of the picture's size, indexed or grey; all that a first mask would mark
    /// belongs to it.
    #[arg(long, value_name = "FILE.png")]
    mask: Option<PathBuf>,
    /// Forget all instances and discover again.
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    question: Question,
    /// The daemon's site, where several have a stream of this name.
    #[arg(long)]
    site: Option<Site>,
}

/// Runs `maskd prompt`: prints `accepted`, or fails with the refusal ([`Exit::Data`]).
///
/// # Errors
/// A mask that cannot be used, a prompt that was refused, and ([`Exit::Unavailable`]) nobody who answers.
pub fn run(args: PromptArgs) -> Result<(), Failure> {
    let prompt = args.prompt().or_exit(Exit::Data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.or_exit(Exit::Internal)?;
    let Question { connection, timeout } = &args.question;
    let asked = ask(
        &connection.connect,
        connection.zenoh_config.as_deref(),
        args.site.as_ref(),
        &args.stream,
        &prompt,
        *timeout,
    );
    let failed = |exit, error| Err(Failure::new(exit, error));
    match runtime.block_on(asked).or_exit(Exit::Unavailable)? {
        Answer::Accepted => {
            println!("accepted");
            Ok(())
        }
        Answer::Refused(why) => failed(Exit::Data, anyhow!("{why}")),
        Answer::Nobody => failed(
            Exit::Unavailable,
            anyhow!(
                "stream {} did not answer at {} in {} s: check that maskd runs there, the stream's name, and --connect",
                args.stream,
                connection.connect.join(", "),
                timeout.as_secs_f64()
            ),
        ),
        Answer::Unheard => failed(
            Exit::Unavailable,
            anyhow!(
                "stream {} is there, but nobody answered the prompt: the daemon's access control does not grant you \
                 prompts, or it is stopping",
                args.stream
            ),
        ),
        Answer::Several(sites) => {
            let sites: Vec<_> = sites.iter().map(ToString::to_string).collect();
            let several =
                anyhow!("several sites have a stream {}: say which with --site ({})", args.stream, sites.join(", "));
            failed(Exit::Unavailable, several)
        }
    }
}

impl PromptArgs {
    fn prompt(&self) -> anyhow::Result<Prompt> {
        if let Some(prompt) = self.pointing.prompt() {
            return Ok(prompt);
        }
        if let Some(path) = &self.mask {
            let first = FirstMask::read(path).context("--mask")?;
            let labels = first.labels();
            let mask: Vec<bool> = labels.labels.iter().map(|&label| label != 0).collect();
            return Ok(Prompt::Mask { mask: Rle::from_mask(labels.size, &mask) });
        }
        // The command line leaves nothing else.
        Ok(Prompt::Reset)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use maskd_types::instance::BBox;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: PromptArgs,
    }

    fn parse(line: &str) -> Result<Prompt, String> {
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        cli.args.prompt().map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_mask_is_read_as_a_first_mask_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        let line = format!("p gate --mask {}", path.display());
        for (values, marked) in
            [([0, 255, 255, 0], [false, true, true, false]), ([0, 3, 255, 9], [false, true, false, true])]
        {
            image::GrayImage::from_raw(4, 1, values.to_vec()).unwrap().save(&path).unwrap();
            let mask = Rle::from_mask(maskd_types::frame::Size::new(4, 1), &marked);
            assert_eq!(parse(&line), Ok(Prompt::Mask { mask }), "{values:?}");
        }
        image::GrayImage::new(4, 1).save(&path).unwrap();
        let refused = parse(&line).unwrap_err();
        assert!(refused.starts_with("--mask: ") && refused.contains("m.png: it marks nothing"), "{refused}");
    }

    #[test]
    fn exactly_one_thing_is_asked() {
        assert_eq!(parse("p gate --reset"), Ok(Prompt::Reset));
        let bbox = BBox { x: 1, y: 2, width: 30, height: 40 };
        assert_eq!(parse("p gate --box 1,2,30,40"), Ok(Prompt::Box { bbox }));
        assert_eq!(
            parse("p gate --point 1,2 --point 3,4 --not-point 5,6"),
            Ok(Prompt::Points { positive: vec![[1, 2], [3, 4]], negative: vec![[5, 6]] })
        );
        for bad in [
            "p gate",
            "p gate --reset --box 1,2,3,4",
            "p gate --box 1,2,3",
            "p gate --box -1,2,3,4",
            "p gate --not-point 1,1",
            "p Gate --reset",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
