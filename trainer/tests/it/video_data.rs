//! Samples from videos: which frames are taken, and that the cache holds them safely and within its bound.

use std::{
    fs,
    path::{Path, PathBuf},
};

use maskd_ingest::Mp4Writer;
use maskd_trainer::{
    augment::{CropConfig, STD},
    data::{CropBatch, DataConfig, Loader},
};
use maskd_types::frame::Size;

use crate::{
    data::{crops, picture},
    shared::shared,
    turned::film_lying,
};

/// 10 frames a second; what is shown changes with every number in `shown`.
fn film(path: &Path, shown: impl IntoIterator<Item = u32>) {
    let mut writer = Mp4Writer::create(path, Size::new(160, 120), (10, 1)).unwrap();
    for number in shown {
        writer.push(&picture(160, 120, number)).unwrap();
    }
    writer.finish().unwrap();
}

fn open(source: &Path, data: &DataConfig) -> Loader {
    Loader::open(&[source.to_owned()], data, &crops(), 2, 0, 0).unwrap()
}

fn config(cache: &Path) -> DataConfig {
    DataConfig { cache: Some(cache.to_owned()), workers: 1, ..DataConfig::default() }
}

/// All frames of the cache with their sizes, by name.
fn frames(cache: &Path) -> Vec<(PathBuf, u64)> {
    let folders = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "jpg"));
    let mut files: Vec<_> = files.map(|path| (path.clone(), fs::metadata(&path).unwrap().len())).collect();
    files.sort();
    files
}

fn number(path: &Path) -> u32 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_video_gives_frames_at_its_rate_and_no_two_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (source, cache) = (folder.path().join("in"), folder.path().join("cache"));
    fs::create_dir(&source).unwrap();
    // 3 s that change all the time, then 3 s of one picture.
    film(&source.join("a.mp4"), (0..30).chain([99; 30]));
    let loader = open(&source, &DataConfig { video_rate: 5.0, ..config(&cache) });
    let taken: Vec<_> = frames(&cache).iter().map(|(path, _)| number(path)).collect();
    assert_eq!(taken, (0..=30).step_by(2).collect::<Vec<_>>());
    assert_eq!(loader.samples(), 16);
    let every = open(&source, &DataConfig { video_rate: 5.0, video_difference: 0.0, ..config(&cache) });
    assert_eq!(every.samples(), 30, "without leaving out what is alike");
    assert_ne!(every.fingerprint(), loader.fingerprint());
}

#[test]
fn a_video_that_lies_is_learnt_from_upright() {
    let folder = tempfile::tempdir().unwrap();
    let (source, cache) = (folder.path().join("a.mp4"), folder.path().join("cache"));
    film_lying(&source, 6, 10, (0..20).map(|number| picture(160, 120, number)));
    let _loader = open(&source, &config(&cache));
    let taken = frames(&cache);
    assert_eq!(taken.len(), 4);
    for (path, _) in taken {
        let (frame, drawn) = (image::open(&path).unwrap().into_rgb8(), picture(160, 120, number(&path)));
        assert_eq!(frame.dimensions(), (160, 120));
        let off: u64 = frame.iter().zip(drawn.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(off / (160 * 120 * 3) < 16, "{}: off by {} levels", path.display(), off / (160 * 120 * 3));
    }
}

#[test]
fn the_second_crop_may_come_from_a_neighbouring_frame() {
    let folder = tempfile::tempdir().unwrap();
    // Each frame is of one grey, 2 more than the one before.
    let source = folder.path().join("a.mp4");
    let mut writer = Mp4Writer::create(&source, Size::new(160, 120), (10, 1)).unwrap();
    (0..100).for_each(|number| writer.push(&[20 + 2 * number; 160 * 120 * 3]).unwrap());
    writer.finish().unwrap();
    let data = DataConfig { video_rate: 10.0, video_difference: 0.0, ..config(&folder.path().join("cache")) };
    // How many frames lie between the two crops of each sample.
    let apart = |neighbours: usize| -> Vec<i32> {
        let still = CropConfig { jitter: 0.0, grey: 0.0, solarise: 0.0, local_count: 0, ..crops() };
        let crops = CropConfig { neighbours, ..still };
        let mut loader = Loader::open(std::slice::from_ref(&source), &data, &crops, 50, 0, 0).unwrap();
        let [first, second] = loader.next_batch().unwrap().crops.try_into().ok().unwrap();
        let plane = first.size * first.size;
        let red = |crop: &CropBatch| -> Vec<f32> {
            let samples = crop.pixels.chunks(3 * plane);
            samples.map(|sample| sample[..plane].iter().sum::<f32>() / plane as f32 * STD[0] * 255.0 / 2.0).collect()
        };
        red(&first).iter().zip(red(&second)).map(|(a, b)| (b - a).round() as i32).collect()
    };
    assert!(apart(0).iter().all(|frames| frames.abs() <= 1));
    let apart = apart(8);
    assert!(apart.iter().all(|frames| frames.abs() <= 9), "{apart:?}");
    assert!(apart.iter().any(|frames| *frames >= 4) && apart.iter().any(|frames| *frames <= -4), "{apart:?}");
    assert!(apart.iter().filter(|frames| frames.abs() > 1).count() > 25, "{apart:?}");
}

#[test]
fn a_video_is_decoded_once_and_again_where_the_cache_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (source, cache) = (folder.path().join("a.mp4"), folder.path().join("cache"));
    film(&source, 0..20);
    let data = config(&cache);
    let mut loader = open(&source, &data);
    let (print, batch) = (loader.fingerprint(), loader.next_batch().unwrap());
    let entries = frames(&cache);
    let changed = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before: Vec<_> = entries.iter().map(|(path, _)| changed(path)).collect();
    drop(loader);

    let mut again = open(&source, &data);
    assert_eq!((again.fingerprint(), again.next_batch().unwrap() == batch), (print.clone(), true));
    assert_eq!(entries.iter().map(|(path, _)| changed(path)).collect::<Vec<_>>(), before, "not written again");
    drop(again);

    // A write that was cut off, and what a killed run leaves.
    fs::write(&entries[1].0, "half a fra").unwrap();
    let left = cache.join(".writing-killed");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("0000000.jpg"), "x").unwrap();
    // And what is not the cache's own.
    fs::write(cache.join("notes.txt"), "mine").unwrap();
    let mut again = open(&source, &data);
    assert_eq!((again.fingerprint(), again.next_batch().unwrap() == batch), (print, true));
    assert_eq!(frames(&cache), entries);
    assert!(!left.exists() && cache.join("notes.txt").exists());
}

#[test]
fn a_full_cache_makes_sampling_sparser_over_the_whole_video() {
    let folder = tempfile::tempdir().unwrap();
    let (source, cache) = (folder.path().join("in"), folder.path().join("cache"));
    fs::create_dir(&source).unwrap();
    // Noise takes the most space: about 25 kB a frame, 1.5 MB in all.
    let noise = |seed: u32| (0..160 * 120 * 3).map(move |i: u32| (i.wrapping_mul(2_654_435_761) ^ (seed * 7919)) as u8);
    let mut writer = Mp4Writer::create(&source.join("a.mp4"), Size::new(160, 120), (10, 1)).unwrap();
    for frame in 0..150 {
        let rgb: Vec<u8> = noise(frame).zip(picture(160, 120, frame).into_raw()).map(|(a, b)| a / 2 + b / 2).collect();
        writer.push(&rgb).unwrap();
    }
    writer.finish().unwrap();
    let data = DataConfig { video_rate: 10.0, video_difference: 0.0, cache_megabytes: 1, ..config(&cache) };
    let loader = open(&source, &data);
    let held = frames(&cache);
    let bytes: u64 = held.iter().map(|(_, bytes)| bytes).sum();
    assert!((400_000..=1_000_000).contains(&bytes), "{bytes}");
    let taken: Vec<_> = held.iter().map(|(path, _)| number(path)).collect();
    let step = taken[1];
    assert!(step > 1, "{taken:?}");
    assert_eq!(taken, (0..150).step_by(step as usize).collect::<Vec<_>>(), "evenly to the end");
    let print = loader.fingerprint();
    drop(loader);
    assert_eq!(open(&source, &data).fingerprint(), print, "from the cache");

    // More space: a thinned entry does not serve, and goes.
    let all = open(&source, &DataConfig { cache_megabytes: 100, ..data.clone() });
    assert_eq!((all.samples(), frames(&cache).len()), (150, 150));
    // A run that needs the space of others takes what is not in use.
    drop(all);
    let other = folder.path().join("b.mp4");
    film(&other, 0..10);
    let small = open(&other, &data);
    assert_eq!((small.samples(), frames(&cache).len()), (10, 10));
}

#[test]
fn two_runs_share_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (source, cache) = (folder.path().join("a.mp4"), folder.path().join("cache"));
    film(&source, 0..20);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (source, data) = (source.clone(), config(&cache));
            std::thread::spawn(move || open(&source, &data).next_batch().unwrap())
        })
        .collect();
    let batches: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(batches.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(frames(&cache).len(), 4);
}

#[test]
fn without_a_cache_the_frames_go_with_the_loader() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.mp4");
    film(&source, 0..20);
    let data = DataConfig { workers: 1, ..DataConfig::default() };
    let mut loader = open(&source, &data);
    let batch = loader.next_batch().unwrap();
    drop(loader);
    assert!(open(&source, &data).next_batch().unwrap() == batch);
}

/// Pedestrians before a fixed camera: 80 s at 10 frames a second.
#[test]
fn the_surveillance_film_becomes_samples() {
    let Some(source) = shared("footage/vtest.avi") else { return };
    let data = DataConfig { video_rate: 0.5, workers: 2, ..DataConfig::default() };
    let mut loader = open(&source, &data);
    assert_eq!(loader.samples(), 40);
    assert_eq!(loader.next_batch().unwrap().images, 2);
    assert!(loader.skipped().is_empty());
}
