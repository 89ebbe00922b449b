//! Options that several subcommands have: network and length of an offline command, its preset, and the way to a daemon.

use std::{fmt::Display, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde::{
    Deserialize,
    de::{Error as _, IntoDeserializer as _, value::Error},
};

use super::{Exit, Failure, OrExit as _};
use maskd_model::backbone::{Backbone, BackboneConfig, BlockChoice, DeviceChoice, Precision};
use maskd_tracking::preset::Preset;
use maskd_transport::DEFAULT_ENDPOINT;
use maskd_types::instance::{BBox, Prompt};

/// The network of an offline command, and where it runs.
#[derive(Args, Clone, Debug)]
pub(super) struct Network {
    /// The network's weights: a file, or a name from 'maskd weights list' [default: those that maskd carries]
    #[arg(short, long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// Pixels of the short side as the network sees it; quality and time grow with it
    #[arg(short, long, value_name = "PIXELS", default_value_t = 480)]
    pub(super) short_side: u32,
    /// Attention heads, where the weights do not tell
    #[arg(long, value_name = "N")]
    pub(super) heads: Option<usize>,
    /// Where it runs
    #[arg(long, default_value = "auto", value_parser = one_of(&["auto", "cpu", "cuda"], configured::<DeviceChoice>))]
    pub(super) device: DeviceChoice,
    /// The numbers it computes with; bf16 on a CPU wants AVX512_BF16
    #[arg(long, default_value = "auto", value_parser = one_of(&["auto", "f32", "bf16", "f16"], configured::<Precision>))]
    pub(super) precision: Precision,
}

impl Network {
    /// Loads it; labels are propagated by the tokens of `block`.
    pub(super) fn load(&self, block: BlockChoice) -> Result<Backbone, Failure> {
        Backbone::load(&BackboneConfig { propagation_block: block, ..self.config() }).or_exit(Exit::Config)
    }

    /// As `[model]` would say it; labels are propagated by the block that the weights name.
    pub(super) fn config(&self) -> BackboneConfig {
        BackboneConfig {
            weights: self.weights.clone(),
            device: self.device,
            precision: self.precision,
            short_side: self.short_side,
            heads: self.heads,
            ..BackboneConfig::default()
        }
    }
}

/// Where one new instance is, in pixels of the picture.
#[derive(Args, Clone, Debug)]
pub(super) struct Pointing {
    /// One new instance inside this box.
    #[arg(long = "box", id = "bbox", value_name = "X,Y,WIDTH,HEIGHT", value_parser = numbers::<4>)]
    bbox: Option<[u32; 4]>,
    /// One new instance at this point; may be given several times: the first says what it is, others add to it.
    #[arg(long, value_name = "X,Y", value_parser = numbers::<2>)]
    point: Vec<[u32; 2]>,
    /// A point that is not on it; may be given several times.
    #[arg(long, value_name = "X,Y", value_parser = numbers::<2>, requires = "point")]
    not_point: Vec<[u32; 2]>,
}

impl Pointing {
    /// What is asked for; none where nothing is pointed at.
    pub(super) fn prompt(&self) -> Option<Prompt> {
        match self.bbox {
            Some([x, y, width, height]) => Some(Prompt::Box { bbox: BBox { x, y, width, height } }),
            None if self.point.is_empty() => None,
            None => Some(Prompt::Points { positive: self.point.clone(), negative: self.not_point.clone() }),
        }
    }
}

/// `N` whole numbers with commas between them.
fn numbers<const N: usize>(text: &str) -> Result<[u32; N], String> {
    let numbers: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    let numbers: Option<[u32; N]> = numbers.and_then(|n| n.try_into().ok());
    numbers.ok_or_else(|| format!("use {N} whole numbers with commas between them, none below 0"))
}

/// How much of its input an offline command takes.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Length {
    /// Stop after this many frames
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) max_frames: Option<usize>,
}

impl Length {
    /// Frames at most.
    pub(super) fn most(self) -> usize {
        self.max_frames.unwrap_or(usize::MAX)
    }

    /// Frames that are to come, of `all`; as far as that is known.
    pub(super) fn of(self, all: Option<usize>) -> Option<usize> {
        match (all, self.max_frames) {
            (Some(all), Some(most)) => Some(all.min(most)),
            (all, most) => all.or(most),
        }
    }
}

/// Reads the name of a preset.
pub(super) fn preset() -> impl TypedValueParser<Value = Preset> {
    one_of(&["paper", "best"], str::parse::<Preset>)
}

/// The way to a daemon.
#[derive(Args, Clone, Debug)]
pub(super) struct Connection {
    /// Where the daemon or a zenoh router listens; may be given several times.
    #[arg(long, value_name = "ENDPOINT", default_value = DEFAULT_ENDPOINT)]
    pub(super) connect: Vec<String>,
    /// A zenoh configuration file (JSON5) to build on, for TLS: see configs/zenoh-reader.json5.
    #[arg(long, value_name = "FILE")]
    pub(super) zenoh_config: Option<PathBuf>,
}

/// What a question to a daemon has beside it.
#[derive(Args, Clone, Debug)]
pub(super) struct Question {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// How long to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) timeout: Duration,
}

/// A time in seconds, above 0 and at most a year.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0 && *s < 31_536_000.0);
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "use a number of seconds above 0, such as 10".to_owned())
}

/// One of `words`, understood by `read`: for values whose crates know no command line.
pub(super) fn one_of<T, E>(
    words: &'static [&'static str],
    read: fn(&str) -> Result<T, E>,
) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
    E: Display + 'static,
{
    PossibleValuesParser::new(words).try_map(move |word| read(&word).map_err(|error| Error::custom(error)))
}

/// What `word` means in the configuration.
pub(super) fn configured<T: for<'de> Deserialize<'de>>(word: &str) -> Result<T, Error> {
    T::deserialize(word.into_deserializer())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        network: Network,
    }

    fn parse(line: &str) -> Result<Network, String> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.network).map_err(|e| e.to_string())
    }

    #[test]
    fn devices_and_precisions_are_said_as_in_the_configuration() {
        let defaults = parse("x").unwrap().config();
        assert_eq!((defaults.device, defaults.precision), (DeviceChoice::Auto, Precision::Auto));
        // Each word that help names is read, and is what a configuration says.
        let command = Cli::command();
        for name in ["device", "precision"] {
            let option = command.get_arguments().find(|argument| argument.get_id() == name).unwrap();
            let words: Vec<_> = option.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
            assert!(words.len() >= 3, "{words:?}");
            for word in words {
                let config = parse(&format!("x --{name} {word}")).unwrap().config();
                let printed: toml::Table = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
                assert_eq!(printed[name].as_str(), Some(word.as_str()));
            }
        }
        let error = parse("x --device cdua").err().unwrap();
        assert!(error.contains("'cdua'") && error.contains("auto, cpu, cuda"), "{error}");
    }

    #[test]
    fn presets_are_said_as_they_are_printed() {
        #[derive(Parser)]
        struct Cli {
            #[arg(long, default_value_t, value_parser = preset())]
            preset: Preset,
        }
        let read = |line: &str| Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.preset);
        assert_eq!(read("x").unwrap(), Preset::default());
        for one in [Preset::Paper, Preset::Best] {
            assert_eq!(read(&format!("x --preset {one}")).unwrap(), one);
        }
        let error = read("x --preset worst").unwrap_err().to_string();
        assert!(error.contains("'worst'") && error.contains("paper, best"), "{error}");
    }

    #[test]
    fn as_many_frames_come_as_there_are_and_are_wanted() {
        let length = |max_frames| Length { max_frames };
        assert_eq!((length(None).of(None), length(Some(3)).of(None)), (None, Some(3)));
        assert_eq!((length(None).of(Some(5)), length(Some(3)).of(Some(5))), (Some(5), Some(3)));
        assert_eq!(
            (length(Some(9)).of(Some(5)), length(Some(9)).most(), length(None).most()),
            (Some(5), 9, usize::MAX)
        );
    }

    #[test]
    fn times_are_above_nothing_and_below_a_year() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for bad in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
