//! `maskd weights`: which weights there are, fetching them, and what a file holds.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use maskd_model::{
    SHIPPED, WeightsSource,
    catalogue::{self, DownloadSource, KNOWN, cache_dir, parse_sha256, record_path, recorded},
    fetch::{Download, Expected, FetchError, Part, sha256_of, verify},
};
use maskd_types::files;

/// List, fetch and look into weights
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the published weights and what is in the cache
    List(Cache),
    /// Fetch weights into the cache, verified, whole or not at all
    #[command(after_help = "Examples:\n  \
        maskd weights fetch dino_vits8\n  \
        maskd weights fetch hf:facebook/dino-vits8\n  \
        maskd weights fetch https://files.example/my.safetensors --sha256 HEX")]
    Fetch(Fetch),
    /// Show the architecture, size and hash of a weights file
    Info {
        /// A .safetensors or .pth file, or a name from 'maskd weights list'
        file: PathBuf,
        /// Attention heads, where neither the file nor the width says it
        #[arg(long)]
        heads: Option<usize>,
    },
}

#[derive(clap::Args, Debug)]
struct Cache {
    /// The cache (default: maskd/weights in the user's cache folder)
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct Fetch {
    /// A name from 'maskd weights list', hf:OWNER/REPO[@REVISION], or https://...
    source: String,
    /// The SHA-256 that the file must have
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The size that the file must have
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Fetch it even where the cache has it. What was put there by hand stays: remove it first
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    cache: Cache,
    /// A mirror in place of the official host or of Hugging Face
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

fn sha256(text: &str) -> Result<String, String> {
    parse_sha256(text).ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".to_owned())
}

/// Runs the subcommand and prints what it has to say.
///
/// # Errors
/// One line that names the file or the address; [`FetchError`] and [`maskd_model::WeightsError`] can be
/// downcast from it.
pub fn run(args: Args) -> anyhow::Result<()> {
    let text = answer(args)?;
    match io::stdout().write_all(text.as_bytes()) {
        // The reader may close it early (`| head`): that is no error.
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e).context("standard output"),
        _ => Ok(()),
    }
}

/// Runs the subcommand; what it has to say is the result.
///
/// # Errors
/// As [`run`].
pub fn answer(args: Args) -> anyhow::Result<String> {
    match args.command {
        Command::List(Cache { cache }) => Ok(list(&folder(cache)?)),
        Command::Fetch(args) => fetch(args),
        Command::Info { file, heads } => info(&file, heads),
    }
}

fn folder(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    given.or_else(cache_dir).context("no home folder here: say where the weights go with --cache DIR")
}

/// What a reader of the list must know before maskd's own figures are taken for those of published weights.
const UNMEASURED: &str =
    "Published weights have not been measured with maskd: its figures are of other files, which README.md names.";

fn list(cache: &Path) -> String {
    let mut text = format!("{:<14} {:>7}  {:<24} {}\n", "NAME", "SIZE", "WHAT", "IN THE CACHE");
    let size_of = |file: &str| fs::metadata(cache.join(file)).ok().filter(fs::Metadata::is_file).map(|m| m.len());
    let megabytes = WeightsSource::Shipped.size().unwrap_or_default() / 1_000_000;
    let what = "half a ViT-S, patch 14";
    let _ = writeln!(text, "{SHIPPED:<14} {megabytes:>4} MB  {what:<24} maskd carries it: no need to fetch");
    for known in &KNOWN {
        let file = format!("{}.pth", known.file);
        let state = match size_of(&file) {
            None => "no".to_owned(),
            Some(size) if known.size.is_some_and(|k| k != size) => format!("damaged: {size} bytes; fetch it anew"),
            Some(_) if known.sha256.is_none() && !record_path(&cache.join(&file)).exists() => {
                format!("{file} (no record)")
            }
            Some(_) => file,
        };
        let _ = writeln!(text, "{:<14} {:>4} MB  {:<24} {state}", known.name, known.megabytes, known.about);
    }
    let ours = |name: &String| KNOWN.iter().any(|k| name.strip_suffix(".pth") == Some(k.file));
    let mut others: Vec<String> = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| (name.ends_with(".safetensors") || name.ends_with(".pth")) && !ours(name))
        .collect();
    others.sort();
    for name in others {
        let megabytes = size_of(&name).unwrap_or_default() / 1_000_000;
        let _ = writeln!(text, "{:<14} {megabytes:>4} MB  {:<24} {name}", "-", "fetched by address");
    }
    let _ = writeln!(text, "\nThe cache is {}. Sizes of files that are not there are approximate.", cache.display());
    let _ = writeln!(text, "{UNMEASURED}");
    text
}

fn fetch(args: Fetch) -> anyhow::Result<String> {
    let source: DownloadSource = args.source.parse()?;
    let folder = folder(args.cache.cache)?;
    let addresses = source.addresses(args.endpoint.as_deref())?;
    let (known_size, known_hash) = source.known();

    let have = addresses.iter().map(|a| folder.join(&a.file)).find(|path| path.is_file());
    if let Some(path) = have.filter(|_| !args.force) {
        return check_present(&path, args.size, args.sha256.as_deref().or(known_hash));
    }

    let mut last = None;
    for address in addresses {
        let target = folder.join(&address.file);
        let on_record = recorded(&target).with_context(|| record_path(&target).display().to_string())?;
        // What is said now counts most; then what everybody can know; then what was seen here the first time.
        let from_record = args.sha256.is_none() && known_hash.is_none() && on_record.is_some();
        let sha256 = args.sha256.clone().or(known_hash.map(str::to_owned)).or(on_record);
        let expected = Expected { size: args.size.or(known_size), sha256 };
        match receive(&address.url, &target, &expected) {
            Ok(received) => return report(&target, &received, expected.sha256.is_some()),
            Err(e) if matches!(e.downcast_ref(), Some(FetchError::NotFound { .. })) => last = Some(e),
            Err(e) if from_record && matches!(e.downcast_ref(), Some(FetchError::Hash { .. })) => {
                let record = record_path(&target);
                return Err(e.context(format!("not the file on record (remove {} to accept it)", record.display())));
            }
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| anyhow!("This is a bug: {} has no address", args.source)))
}

/// The file is there already: it must still be what it was.
fn check_present(path: &Path, size: Option<u64>, sha256: Option<&str>) -> anyhow::Result<String> {
    let on_record = recorded(path).context("the record of the cached file is damaged (remove it)")?;
    let damaged = match on_record {
        Some(_) => "the cached file is damaged or another one (fetch it again with --force)",
        None => "the cached file is damaged or another one (remove it and fetch it again)",
    };
    let what = || path.display().to_string();
    let found = sha256_of(path)?;
    let bytes = fs::metadata(path).with_context(what)?.len();
    if let Some(expected) = size.filter(|size| *size != bytes) {
        return Err(FetchError::Size { url: what(), found: bytes, expected }).context(damaged);
    }
    for expected in [sha256, on_record.as_deref()] {
        verify(&what(), &found, expected).context(damaged)?;
    }
    if on_record.is_none() {
        record(path, &found)?;
    }
    Ok(format!("{}\nsha256 {found}: already there, unchanged\n", path.display()))
}

fn report(path: &Path, received: &Download, verified: bool) -> anyhow::Result<String> {
    record(path, &received.sha256)?;
    let how = if verified {
        "as expected".to_owned()
    } else {
        format!(
            "seen for the first time: compare it with a source you trust; recorded in {}",
            record_path(path).display()
        )
    };
    Ok(format!("{}\nsha256 {}: {how}\n", path.display(), received.sha256))
}

/// Notes the hash beside the file, as `sha256sum --check` reads it.
fn record(path: &Path, sha256: &str) -> anyhow::Result<()> {
    let record = record_path(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_record = |_: &Path| Ok(recorded(path)?.is_some());
    Ok(files::write(&record, &is_record, |file| writeln!(file, "{sha256}  {name}"))?)
}

/// Downloads with a progress bar. Ctrl-C and SIGTERM leave nothing behind.
fn receive(url: &str, target: &Path, expected: &Expected) -> anyhow::Result<Download> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime")?;
    let bar = progress_bar(target);
    let outcome = runtime.block_on(async {
        // Signals are taken over before there is anything to clean up.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut part = Part::of(target)?;
        let temp = part.path().to_owned();
        let (url, expected, shown) = (url.to_owned(), expected.clone(), bar.clone());
        let work = tokio::task::spawn_blocking(move || {
            let done = part.download(&url, &expected, &mut |received, total| {
                if let Some(total) = total {
                    shown.set_length(total);
                }
                shown.set_position(received);
            });
            done.map(|received| (part, received))
        });
        tokio::select! {
            done = work => Ok(done.context("This is a bug: the download panicked")??),
            _ = async { tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () } } => {
                let _ = fs::remove_file(temp);
                bail!("interrupted: nothing of {} was kept", target.display())
            }
        }
    });
    // After an interruption the download may hang in a read; it is not waited for.
    runtime.shutdown_background();
    bar.finish_and_clear();
    let (part, received) = outcome?;
    part.keep()?;
    Ok(received)
}

fn progress_bar(target: &Path) -> ProgressBar {
    let line = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar());
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ProgressBar::no_length().with_style(style).with_message(name)
}

fn info(file: &Path, heads: Option<usize>) -> anyhow::Result<String> {
    let choice = WeightsSource::of(Some(file))?;
    let checkpoint = choice.read(heads)?;
    let bytes = choice.size().with_context(|| choice.to_string())?;
    let on_record = match &choice {
        WeightsSource::Shipped => "carried by maskd",
        WeightsSource::File(file) => {
            let on_record = recorded(file)?;
            verify(&file.display().to_string(), &checkpoint.sha256, on_record.as_deref())?;
            if on_record.is_some() { "as on record" } else { "not on record" }
        }
    };
    let a = checkpoint.architecture;
    let official = catalogue::KNOWN.iter().find(|k| k.sha256 == Some(checkpoint.sha256.as_str()));
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    row("file", choice.to_string());
    row("size", format!("{bytes} bytes ({})", HumanBytes(bytes)));
    row("sha256", format!("{} ({on_record})", checkpoint.sha256));
    row("model", checkpoint.model_id());
    // A file tells how its network is built, not who trained it.
    row("form", format!("{}'s", a.family.design().title));
    row("patch", format!("{0} x {0} pixels", a.patch));
    row("dim", a.dim.to_string());
    row("depth", a.depth.to_string());
    row("heads", a.heads.to_string());
    row("mlp", a.hidden.to_string());
    row("grid", format!("{0} x {0} patches: trained at {1} x {1} pixels", a.grid, a.grid * a.patch));
    row("parameters", a.parameters().to_string());
    row("stored as", checkpoint.stored.join(", "));
    row("published", official.map_or("not under a SHA-256 that maskd knows", |known| known.name).to_owned());
    let mut metadata: Vec<_> = checkpoint.metadata.iter().collect();
    metadata.sort();
    for (key, value) in metadata {
        // Written by others: without line breaks and control codes, and cut to a length that fits a line or two.
        row(
            "metadata",
            format!("{} = {}", key.escape_debug(), value.chars().take(200).collect::<String>().escape_debug()),
        );
    }
    Ok(text)
}
