//! The configuration files that come with the project.

use std::path::PathBuf;

use maskd_trainer::config::{Config, ModelConfig};

fn preset(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs")).join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn every_preset_can_be_loaded() {
    for name in ["train-vits8.toml", "train-vits8-boosted.toml", "train-footage.toml", "train-tiny.toml"] {
        let config = Config::load(&preset(name).0).unwrap();
        assert_eq!(config.model.is_none(), name == "train-footage.toml", "{name}");
        assert!(config.schedule.plan(100).is_ok(), "{name}");
        assert_eq!(Config::parse(&config.to_toml().unwrap(), "again").unwrap(), config, "{name}");
    }
}

#[test]
fn the_documented_preset_names_every_key_with_its_default() {
    let (path, text) = preset("train-vits8.toml");
    let defaults = Config { model: Some(ModelConfig::default()), ..Config::default() };
    assert_eq!(Config::load(&path).unwrap(), defaults);
    let keys = |text: &str| -> Vec<String> {
        let all: toml::Table = toml::from_str(text).unwrap();
        let section = |(name, keys): (String, toml::Value)| {
            keys.as_table().unwrap().keys().map(|key| format!("{name}.{key}")).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(section).collect()
    };
    assert_eq!(keys(&text), keys(&defaults.to_toml().unwrap()));
}

#[test]
fn the_distillation_preset_is_the_default_and_fits_both_patches() {
    let (path, text) = preset("distill-vits14.toml");
    let config = Config::load(&path).unwrap();
    assert_eq!(config, Config::distillation());
    assert_eq!(Config::parse(&config.to_toml().unwrap(), "again").unwrap(), config);
    assert!(config.schedule.plan(100).is_ok() && config.fits(14).is_ok() && config.fits(16).is_ok());
    // Every key of its own section is there to be read about.
    let ours: toml::Table = toml::from_str(&text).unwrap();
    let all: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
    let keys = |t: &toml::Table| t["distill"].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&all));
}

#[test]
fn the_footage_preset_fits_patch_14() {
    let config = Config::load(&preset("train-footage.toml").0).unwrap();
    assert_eq!(config.fits(14), Ok(()));
    let (key, message) = config.fits(16).unwrap_err();
    assert_eq!((key.as_str(), message.as_str()), ("crops.local_size", "98 is no multiple of the patch, 16; take 96"));
}

#[test]
fn faults_name_file_line_and_key() {
    let fault = |text: &str| Config::parse(text, "t.toml").unwrap_err().to_string();
    assert_eq!(fault("[run]\nbatch = 0\n"), "t.toml:2: run.batch: 0 is not in 1 to 65536");
    assert!(fault("[optim]\nlearning_rate = 1\n").starts_with("t.toml:2: optim.learning_rate: unknown field"));
    assert!(fault("[optim]\nwieght_decay = 1\n").contains("did you mean `weight_decay`?"));
    assert!(fault("[optim]\nlr = nan\n").starts_with("t.toml:2: optim.lr: "));
    assert!(fault("[model]\nheads = 7\n").starts_with("t.toml:2: model.heads: 7 heads do not divide 384"));
    assert!(fault("[model]\npatch = 16\n[crops]\nlocal_size = 100\n").contains("crops.local_size: 100"));
}
