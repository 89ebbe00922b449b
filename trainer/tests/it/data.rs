//! Batches from files: the same for any number of threads, whatever lies among the files.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use image::{Rgb, RgbImage};
use maskd_trainer::{
    augment::CropConfig,
    data::{Batch, DataConfig, Loader},
};
use tempfile::TempDir;

use crate::turned::{lying, save_noted};

/// Crops that take no time.
pub fn crops() -> CropConfig {
    CropConfig { global_size: 32, local_size: 16, local_count: 2, ..CropConfig::default() }
}

/// A picture that no other number has.
pub fn picture(width: u32, height: u32, number: u32) -> RgbImage {
    let value = |x: u32, y: u32| [x * 3 + number * 40, y * 5 + number * 17, (x * y) / 8 + number * 29];
    RgbImage::from_fn(width, height, |x, y| Rgb(value(x, y).map(|v| (v % 256) as u8)))
}

fn images(count: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        let ending = if number % 2 == 0 { "png" } else { "jpg" };
        let sub = folder.path().join(format!("{}", number % 3));
        fs::create_dir_all(&sub).unwrap();
        picture(64 + number, 48, number).save(sub.join(format!("{number:03}.{ending}"))).unwrap();
    }
    folder
}

fn open(source: &Path, workers: usize, seed: u64, start: u64) -> Loader {
    let data = DataConfig { workers, ..DataConfig::default() };
    Loader::open(&[source.to_owned()], &data, &crops(), 4, seed, start).unwrap()
}

fn take(mut loader: Loader, batches: usize) -> Vec<Batch> {
    (0..batches).map(|_| loader.next_batch().unwrap()).collect()
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads_nor_on_where_one_starts() {
    let folder = images(10);
    // Damaged files, so that replacements are among what must agree; 11 samples of which 4 cannot be read.
    fs::write(folder.path().join("0/0000.jpg"), "no picture").unwrap();
    for place in ["0/003.jpg", "1/004.png", "2/005.jpg"] {
        let path = folder.path().join(place);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    }
    // 2 batches an epoch: 7 batches reach into the fourth.
    let all = take(open(folder.path(), 1, 5, 0), 7);
    for workers in [2, 5] {
        assert!(take(open(folder.path(), workers, 5, 0), 7) == all, "{workers} workers");
    }
    for start in [1, 4] {
        assert!(take(open(folder.path(), 2, 5, start as u64), 7 - start) == all[start..], "from {start}");
    }
    assert!(take(open(folder.path(), 2, 6, 0), 1)[0] != all[0], "another seed");
    assert!(all[0] != all[2], "another epoch");
}

#[test]
fn a_batch_has_every_crop_of_every_sample() {
    let folder = images(5);
    let mut loader = open(folder.path(), 2, 1, 0);
    assert_eq!((loader.samples(), loader.batches_per_epoch()), (5, 1));
    let batch = loader.next_batch().unwrap();
    let sizes: Vec<_> = batch.crops.iter().map(|crop| (crop.size, crop.pixels.len())).collect();
    let (global, local) = ((32, 4 * 3 * 32 * 32), (16, 4 * 3 * 16 * 16));
    assert_eq!((batch.images, sizes), (4, vec![global, global, local, local]));
    for crop in &batch.crops {
        assert!(crop.pixels.iter().all(|v| (-2.2..2.7).contains(v)));
        for sample in crop.pixels.chunks(crop.pixels.len() / 4) {
            assert!(sample.iter().any(|v| *v != sample[0]), "every sample's place is filled");
        }
    }
    assert!(loader.waited().as_nanos() > 0);
}

#[test]
fn what_cannot_be_read_is_named_once_and_replaced() {
    let folder = images(6);
    fs::write(folder.path().join("broken.jpg"), "no picture").unwrap();
    picture(20, 20, 1).save(folder.path().join("tiny.png")).unwrap();
    fs::write(folder.path().join("empty.mp4"), "").unwrap();
    fs::write(folder.path().join("noise.mkv"), vec![0xa7; 5000]).unwrap();
    let mut loader = open(folder.path(), 2, 1, 0);
    assert_eq!(loader.samples(), 8, "images, as far as their names say");
    for _ in 0..6 {
        assert_eq!(loader.next_batch().unwrap().images, 4);
    }
    let mut skipped = loader.skipped();
    skipped.sort();
    let expected = ["broken.jpg", "empty.mp4", "noise.mkv", "tiny.png"];
    assert_eq!(skipped.len(), expected.len(), "{skipped:?}");
    for (skipped, name) in skipped.iter().zip(expected) {
        assert!(skipped.contains(name) && skipped.lines().count() == 1, "{skipped}");
    }
    assert!(skipped[3].contains("20x20 is less than data.min_side = 32"), "{}", skipped[3]);
}

#[test]
fn images_that_lie_are_learnt_from_upright() {
    let [upright, turned] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for orientation in 1..=8 {
        let (picture, name) = (picture(64, 48, orientation.into()), format!("{orientation}.png"));
        picture.save(upright.path().join(&name)).unwrap();
        save_noted(&lying(&picture, orientation), orientation, &turned.path().join(&name));
    }
    assert!(take(open(upright.path(), 1, 3, 0), 4) == take(open(turned.path(), 1, 3, 0), 4));
}

#[test]
fn a_video_that_is_a_list_of_addresses_is_named_and_nobody_is_called() {
    let folder = images(6);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let place = format!("http://{}/a.ts", server.local_addr().unwrap());
    let list = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5.0,\n{place}\n#EXT-X-ENDLIST\n");
    fs::write(folder.path().join("holiday.mp4"), list).unwrap();
    let skipped = open(folder.path(), 1, 0, 0).skipped();
    assert!(skipped.len() == 1 && skipped[0].contains("holiday.mp4") && skipped[0].contains("HLS"), "{skipped:?}");
    assert!(server.accept().is_err(), "somebody called");
}

#[test]
fn data_that_teach_nothing_are_an_error_in_words() {
    let refused = |source: &Path, batch: usize| {
        let opened = Loader::open(&[source.to_owned()], &DataConfig::default(), &crops(), batch, 0, 0);
        let error = format!("{:#}", opened.err().expect("an error"));
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(empty.path(), 4).contains("no images or videos in"));
    fs::write(empty.path().join("noise.mp4"), vec![0xa7; 5000]).unwrap();
    assert!(refused(empty.path(), 4).contains("noise.mp4"));
    assert!(refused(&empty.path().join("gone"), 4).contains("gone"));
    let few = images(3);
    assert!(refused(few.path(), 4).contains("3 samples are less than one batch of 4"));
    let data = DataConfig { video_rate: 0.0, ..DataConfig::default() };
    let opened = Loader::open(&[few.path().to_owned()], &data, &crops(), 1, 0, 0);
    assert!(opened.err().unwrap().to_string().starts_with("data.video_rate: "));
}

#[test]
fn images_none_of_which_can_be_read_end_the_batches() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..6 {
        fs::write(folder.path().join(format!("{number}.jpg")), "no picture").unwrap();
    }
    let mut loader = open(folder.path(), 3, 1, 0);
    let error = format!("{:#}", loader.next_batch().unwrap_err());
    assert!(error.contains("none of 6 images can be read") && error.contains(".jpg"), "{error}");
    assert!(loader.next_batch().is_err(), "and it does not wait for ever");
    assert_eq!(loader.skipped().len(), 6);
}

#[test]
fn the_fingerprint_is_of_names_and_sizes_and_not_of_the_place() {
    let folder = images(6);
    let print = |path: &Path| open(path, 1, 0, 0).fingerprint();
    let first = print(folder.path());
    let moved: PathBuf = folder.path().with_extension("moved");
    fs::rename(folder.path(), &moved).unwrap();
    assert_eq!(print(&moved), first);
    fs::rename(moved.join("0/000.png"), moved.join("0/00x.png")).unwrap();
    assert_ne!(print(&moved), first);
    fs::remove_dir_all(&moved).unwrap();
}

#[test]
fn a_loader_goes_at_once_with_work_in_its_queues() {
    let folder = images(12);
    let data = DataConfig { workers: 3, prefetch: 64, ..DataConfig::default() };
    for taken in 0..3 {
        let mut loader = Loader::open(&[folder.path().to_owned()], &data, &crops(), 4, 0, 0).unwrap();
        (0..taken).for_each(|_| drop(loader.next_batch().unwrap()));
    }
}
