//! Operators against Pillow 13's numbers, and what the recipe does on the whole.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

/// A picture by formula: sharp edges, all hues.
fn formula(width: u32, height: u32) -> Picture {
    let value = |x: u32, y: u32| {
        [x * 37 + y * 91 + 13, x * 53 + y * 17 + 101, x * x * 11 + y * 29 + 7].map(|v| (v % 256) as u8)
    };
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| value(x, y))).collect();
    Picture::new(width, height, rgb).unwrap()
}

/// Sum of the values, and their sum weighted by place: equal to Pillow's only if (all but surely) every value is.
fn signature(picture: &Picture) -> (u64, u64) {
    let values = || picture.rgb().iter().map(|v| u64::from(*v)).enumerate();
    (values().map(|(_, v)| v).sum(), values().map(|(i, v)| v * (i as u64 % 251 + 1)).sum())
}

#[test]
fn every_operator_gives_pillows_numbers() {
    type Operator = Box<dyn Fn(&mut Picture)>;
    let on = |f: fn(&mut [u8], f32), factor: f32| -> Operator { Box::new(move |p| f(p.rgb_mut(), factor)) };
    let turn = |by: f64| -> Operator { Box::new(move |p| colour::hue(p.rgb_mut(), by)) };
    let blur = |radius: f32| -> Operator { Box::new(move |p| blur::gaussian(p, radius)) };
    let expected: [(&str, Operator, (u64, u64)); 19] = [
        ("source", Box::new(|_| ()), (2_261_147, 284_006_829)),
        ("darker", on(colour::brightness, 0.6), (1_349_639, 169_518_331)),
        ("brighter", on(colour::brightness, 1.4), (2_899_998, 364_400_466)),
        ("flatter", on(colour::contrast, 0.6), (2_258_430, 283_700_627)),
        ("harder", on(colour::contrast, 1.4), (2_253_333, 283_040_468)),
        ("paler", on(colour::saturation, 0.8), (2_254_512, 283_187_999)),
        ("richer", on(colour::saturation, 1.2), (2_254_369, 283_168_727)),
        ("hue 0", turn(0.0), (2_263_727, 284_341_741)),
        ("hue 0.1", turn(0.1), (2_262_452, 284_299_828)),
        ("hue -0.1", turn(-0.1), (2_263_962, 284_744_698)),
        ("hue 0.37", turn(0.37), (2_263_220, 284_673_830)),
        ("grey", Box::new(|p| colour::grey(p.rgb_mut())), (2_263_440, 284_361_977)),
        ("blur 0.1", blur(0.1), (2_261_114, 284_002_884)),
        ("blur 0.5", blur(0.5), (2_262_094, 284_289_430)),
        ("blur 1", blur(1.0), (2_254_725, 283_488_468)),
        ("blur 1.5", blur(1.5), (2_258_820, 283_942_666)),
        ("blur 2", blur(2.0), (2_261_663, 284_247_572)),
        ("blur 3", blur(3.0), (2_262_331, 284_289_837)),
        ("solarised", Box::new(|p| colour::solarise(p.rgb_mut())), (1_127_274, 141_874_123)),
    ];
    for (name, operator, numbers) in expected {
        let mut picture = formula(97, 61);
        operator(&mut picture);
        assert_eq!(signature(&picture), numbers, "{name}");
    }
}

#[test]
fn crops_are_pillows() {
    let small = [
        98, 160, 32, 157, 86, 129, 134, 150, 112, 106, 107, 141, 167, 131, 103, 123, 162, 92, 118, 86, 144, 153, 165,
        139, 128, 98, 112, 121, 172, 160, 151, 156, 156, 121, 87, 159, 124, 173, 97, 154, 93, 112, 121, 160, 184, 130,
        97, 216, 148, 123, 125, 116, 130, 146, 132, 119, 125, 149, 149, 64, 103, 122, 120, 136, 146, 104, 154, 107, 91,
        104, 149, 127, 140, 130, 69,
    ];
    let inner = [
        127, 124, 133, 130, 99, 157, 130, 197, 123, 145, 79, 138, 126, 52, 159, 140, 143, 107, 144, 135, 127, 114, 81,
        125, 109, 61, 186, 115, 172, 111, 147, 125, 106, 149, 109, 99, 178, 95, 136, 128, 177, 140, 91, 63, 165, 151,
        146, 110,
    ];
    // The first rows of a crop that grows.
    let grown = [
        40, 32, 153, 49, 46, 184, 69, 75, 249, 89, 103, 226, 108, 130, 111, 128, 158, 97, 148, 187, 177, 157, 201, 214,
        77, 39, 176, 90, 53, 171, 117, 82, 159, 141, 110, 134, 160, 137, 95, 179, 165, 120, 199, 194, 201, 208, 208,
        240, 145, 51, 211, 151, 65, 157, 165, 94, 43, 183, 122, 15, 202, 149, 81, 222, 177, 147, 242, 206, 207, 251,
        220, 237,
    ];
    let cases: [(_, _, &[u8], u8); 3] = [
        ([0, 0, 12, 10], 5, &small, 1),
        // Pillow's crop knows no pixel outside the rectangle, so neither may ours.
        ([2, 1, 8, 7], 4, &inner, 1),
        ([3, 2, 4, 5], 8, &grown, 3),
    ];
    for ([left, top, width, height], size, numbers, bound) in cases {
        let rect = Rect { left, top, width, height };
        let crop = formula(12, 10).crop(rect, size, size, &mut Resizer::new()).unwrap();
        let worst = crop.rgb().iter().zip(numbers).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(bound), "{rect:?}: {worst:?}");
    }
}

#[test]
fn a_picture_must_be_its_size_and_a_crop_inside_it() {
    assert!(Picture::new(2, 2, vec![0; 11]).is_err());
    assert!(Picture::new(0, 2, vec![]).is_err());
    let outside = Rect { left: 5, top: 0, width: 8, height: 4 };
    assert!(formula(12, 10).crop(outside, 4, 4, &mut Resizer::new()).is_err());
}

/// Chances that change nothing: a crop of the whole picture at its own size.
fn identity(size: usize) -> CropConfig {
    CropConfig {
        global_size: size,
        global_scale: [1.0, 1.0],
        local_count: 0,
        flip: 0.0,
        jitter: 0.0,
        grey: 0.0,
        blur_global_1: 0.0,
        blur_global_2: 0.0,
        solarise: 0.0,
        ..CropConfig::default()
    }
}

fn crops(config: &CropConfig, picture: &Picture, seed: u64) -> Vec<Picture> {
    Cropper::new(config.clone()).crops(picture, picture, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
}

#[test]
fn without_any_chance_the_picture_comes_back() {
    // Only the square fits the whole area: the other tries end in the centre, which is the whole as well.
    let picture = formula(40, 40);
    assert_eq!(crops(&identity(40), &picture, 3), [picture.clone(), picture.clone()]);
    let mut flipped = picture.clone();
    flipped.flip();
    assert_ne!(flipped, picture);
    assert_eq!(crops(&CropConfig { flip: 1.0, ..identity(40) }, &picture, 3), [flipped.clone(), flipped.clone()]);
    flipped.flip();
    assert_eq!(flipped, picture);
}

#[test]
fn first_and_second_differ_in_blur_and_solarisation() {
    let picture = formula(40, 40);
    let chances = CropConfig { blur_global_1: 1.0, blur_radius: [1.0, 1.0], solarise: 1.0, ..identity(40) };
    let [mut first, mut second] = [picture.clone(), picture.clone()];
    blur::gaussian(&mut first, 1.0);
    colour::solarise(second.rgb_mut());
    assert_eq!(crops(&chances, &picture, 5), [first, second]);
}

#[test]
fn chances_come_as_often_as_they_are_told() {
    let picture = formula(24, 24);
    let plain = crops(&identity(24), &picture, 0).swap_remove(0);
    let rate = |config: CropConfig| {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut cropper = Cropper::new(CropConfig { local_count: 0, ..config });
        let mut changed = [0.0; 2];
        for _ in 0..1500 {
            for (changed, crop) in changed.iter_mut().zip(cropper.crops(&picture, &picture, &mut rng).unwrap()) {
                *changed += f64::from(u8::from(crop != plain)) / 1500.0;
            }
        }
        changed
    };
    let near = |[a, b]: [f64; 2], expected: [f64; 2]| {
        // Three standard deviations of a fair coin over 1500 throws are 0.039.
        assert!((a - expected[0]).abs() < 0.04 && (b - expected[1]).abs() < 0.04, "{a} {b}: {expected:?}");
    };
    let paper = CropConfig::default();
    near(rate(CropConfig { flip: paper.flip, ..identity(24) }), [0.5, 0.5]);
    near(rate(CropConfig { jitter: paper.jitter, ..identity(24) }), [0.8, 0.8]);
    near(rate(CropConfig { grey: paper.grey, ..identity(24) }), [0.2, 0.2]);
    near(rate(CropConfig { solarise: paper.solarise, ..identity(24) }), [0.0, 0.2]);
    // A radius of 0.1 changes a picture of such contrast as well.
    let blurs = CropConfig { blur_global_1: 1.0, blur_global_2: 0.1, ..identity(24) };
    near(rate(blurs), [1.0, 0.1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_same_seed_gives_the_same_crops(
        seed in any::<u64>(), width in 1u32..200, height in 1u32..200, local_count in 0usize..4,
    ) {
        let config = CropConfig { global_size: 32, local_size: 16, local_count, ..CropConfig::default() };
        let picture = formula(width, height);
        let got = crops(&config, &picture, seed);
        let sizes: Vec<_> = got.iter().map(|c| (c.width(), c.height())).collect();
        let expected = [vec![(32, 32); 2], vec![(16, 16); local_count]].concat();
        prop_assert_eq!(sizes, expected);
        prop_assert_eq!(got, crops(&config, &picture, seed));
    }
}

#[test]
fn jitter_stays_within_its_ranges_and_takes_every_order() {
    // On a flat grey picture only brightness shows.
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let levels: Vec<u8> = (0..500)
        .map(|_| {
            let mut rgb = vec![100; 3 * 64];
            colour::jitter(&mut rgb, &CropConfig::default(), &mut rng);
            rgb[0]
        })
        .collect();
    let (min, max) = (levels.iter().min().unwrap(), levels.iter().max().unwrap());
    assert!((59..=63).contains(min) && (136..=140).contains(max), "{min} {max}");
}

#[test]
fn white_and_black_become_the_published_numbers() {
    let mut planes = [0f32; 6];
    normalise(&[255, 255, 255, 0, 0, 0], &mut planes);
    for (c, pair) in planes.chunks(2).enumerate() {
        assert!((pair[0] - (1.0 - MEAN[c]) / STD[c]).abs() < 1e-5);
        assert!((pair[1] + MEAN[c] / STD[c]).abs() < 1e-5);
    }
}

#[test]
fn a_value_out_of_range_is_named() {
    assert_eq!(CropConfig::default().validate(), Ok(()));
    let refused = |config: CropConfig| config.validate().unwrap_err().0;
    assert_eq!(refused(CropConfig { flip: 1.5, ..CropConfig::default() }), "flip");
    assert_eq!(refused(CropConfig { hue: 0.6, ..CropConfig::default() }), "hue");
    assert_eq!(refused(CropConfig { jitter: f64::NAN, ..CropConfig::default() }), "jitter");
    assert_eq!(refused(CropConfig { local_size: 0, ..CropConfig::default() }), "local_size");
    assert_eq!(refused(CropConfig { global_scale: [0.5, 0.4], ..CropConfig::default() }), "global_scale");
    assert_eq!(refused(CropConfig { local_scale: [0.0, 0.4], ..CropConfig::default() }), "local_scale");
    assert_eq!(refused(CropConfig { blur_radius: [-1.0, 0.4], ..CropConfig::default() }), "blur_radius");
}
