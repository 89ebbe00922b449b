//! Offline pictures: video files in, overlay videos out.

use std::{path::Path, process::Command};

use maskd::{
    frame::Size,
    ingest::{Clip, Mp4Writer},
};

use crate::{
    shared::shared,
    support::scene::{Scene, film},
};

#[test]
fn a_video_clip_yields_every_frame_at_full_size() {
    let scene = Scene { size: Size::new(318, 178), frames: 20, fps: 10 };
    let folder = tempfile::tempdir().unwrap();
    for name in ["film.mp4", "film.mkv"] {
        let path = folder.path().join(name);
        scene.write_video(&path);
        let clip = Clip::open(&path).unwrap();
        assert_eq!((clip.size(), clip.fps(), clip.len_hint()), (scene.size, Some((10, 1)), Some(20)));
        let frames: Vec<_> = clip.map(Result::unwrap).collect();
        assert_eq!(frames.len(), 20);
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!((frame.name.as_str(), frame.size), (format!("{i:05}").as_str(), scene.size));
            let off = mean_difference(&frame.rgb, &scene.rgb(i as u64));
            assert!(off < 12.0, "frame {i} of {name} is off by {off} levels");
        }
        assert!(frames.windows(2).all(|w| w[0].pts_ns < w[1].pts_ns));
    }
}

/// Real footage: what a surveillance camera recorded, in a codec and container of its own.
#[test]
fn the_surveillance_film_is_read_whole() {
    let Some(path) = shared("footage/vtest.avi") else { return };
    let clip = Clip::open(&path).unwrap();
    assert_eq!((clip.size(), clip.fps(), clip.len_hint()), (Size::new(768, 576), Some((10, 1)), Some(795)));
    assert_eq!(clip.map(Result::unwrap).count(), 795);
}

/// Mean absolute difference in levels of 0..=255.
fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn files_that_are_no_clip_are_refused_by_name() {
    let (folder, film) = film(Scene { frames: 8, ..Scene::default() });
    let whole = std::fs::read(film).unwrap();
    let sound = folder.path().join("sound.wav");
    let wave = format!("audiotestsrc num-buffers=20 ! wavenc ! filesink location={}", sound.display());
    let made = Command::new("gst-launch-1.0").args(wave.split(' ')).output().unwrap();
    assert!(made.status.success());
    for (name, bytes, said) in [
        ("noise.mp4", vec![0xA7; 3000], "type"),
        ("cut.mp4", whole[..whole.len() / 2].to_vec(), ""),
        ("empty.mp4", Vec::new(), ""),
        ("sound.wav", std::fs::read(&sound).unwrap(), "no video"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = match Clip::open(&path) {
            Ok(clip) => clip.filter_map(Result::err).next().expect(name),
            Err(error) => error,
        };
        let line = format!("{error:#}");
        assert!(line.contains(name) && line.contains(said), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_written_video_reads_back_and_an_unfinished_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.mp4");
    // Odd sides: the video is one row and one column larger.
    let scene = Scene { size: Size::new(161, 121), frames: 12, fps: 30 };
    let mut writer = Mp4Writer::create(&path, scene.size, (30, 1)).unwrap();
    for i in 0..scene.frames {
        writer.push(&scene.rgb(i)).unwrap();
    }
    assert!(writer.push(&[0; 7]).is_err());
    assert!(!path.exists(), "nothing under its name before it is finished");
    writer.finish().unwrap();
    let clip = Clip::open(&path).unwrap();
    assert_eq!((clip.size(), clip.fps()), (Size::new(162, 122), Some((30, 1))));
    let frames: Vec<_> = clip.map(Result::unwrap).collect();
    assert_eq!(frames.len(), 12);
    let cropped: Vec<u8> = frames[5].rgb.chunks(162 * 3).take(121).flat_map(|row| row[..161 * 3].to_vec()).collect();
    let off = mean_difference(&cropped, &scene.rgb(5));
    assert!(off < 12.0, "frame 5 is off by {off} levels");

    let mut writer = Mp4Writer::create(&folder.path().join("never.mp4"), scene.size, (30, 1)).unwrap();
    writer.push(&scene.rgb(0)).unwrap();
    drop(writer);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["out.mp4"]);
    let error = format!("{:#}", Mp4Writer::create(Path::new("/nowhere/out.mp4"), scene.size, (30, 1)).err().unwrap());
    assert!(error.contains("/nowhere/out.mp4"), "{error}");
}
