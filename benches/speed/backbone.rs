//! The network, beside the peers and beside the machine's limit.

use anyhow::Result;

use super::{
    limit,
    network::{Ours, S8, S14, S16, TI16, TURN, Work},
    peers::{self, Peer},
    report::{Batch, Comparison, Engine},
    spread::Spread,
};

/// What all engines run: one image each.
const WORKS: [Work; 4] = [
    Work::new("ViT-S/8 240x416", S8, (240, 416), 1),
    Work::new("ViT-S/16 480x848", S16, (480, 848), 1),
    Work::new("ViT-S/14 476x840", S14, (476, 840), 1),
    Work::new("ViT-Ti/16 224x384", TI16, (224, 384), 1),
];

/// What is run eight at a time and alone.
const BATCHED: [(&str, maskd::model::Architecture); 3] =
    [("ViT-S/8 224x224", S8), ("ViT-S/16 224x224", S16), ("ViT-S/14 224x224", S14)];

/// Every engine on every network, `rounds` times in turns.
pub fn compare(rounds: usize, peers: &mut [Peer]) -> Result<Vec<Comparison>> {
    let folder = tempfile::tempdir()?;
    let mut all = Vec::new();
    for (number, work) in WORKS.into_iter().enumerate() {
        // A name of its own: where the export fails there is no file, and not that of the network before.
        let onnx = folder.path().join(format!("{number}.onnx"));
        let exported = if peers.is_empty() { Ok(()) } else { peers::export(&work, &onnx) };
        if let Err(error) = exported {
            eprintln!("SKIPPED ONNX Runtime, OpenVINO on {}: {error:#}", work.name);
        }
        let mut ready: Vec<&mut Peer> = Vec::new();
        for peer in peers.iter_mut() {
            match peer.load(&work, &onnx) {
                Ok(()) => ready.push(peer),
                Err(error) => eprintln!("SKIPPED on {}: {error:#}", work.name),
            }
        }
        all.push(one(&work, rounds, &mut ready)?);
    }
    Ok(all)
}

fn one(work: &Work, rounds: usize, peers: &mut [&mut Peer]) -> Result<Comparison> {
    let ours: Vec<Ours> = std::iter::once(work.build()?).chain(work.build_bf16()?).collect();
    let engines = ours.len() + peers.len();
    let (mut times, mut limits) = (vec![Vec::new(); engines], Vec::new());
    for round in 0..rounds.max(1) {
        eprint!("\r{}: round {} of {rounds}   ", work.name, round + 1);
        limits.push(limit::gflops());
        // Each round begins with another engine: none always follows the same one.
        for place in 0..engines {
            let engine = (round + place) % engines;
            let ms = match ours.get(engine) {
                Some(ours) => ours.turn(TURN)?,
                None => peers[engine - ours.len()].turn(TURN)?,
            };
            times[engine].push(ms);
        }
    }
    eprintln!();
    let names = ["maskd", "maskd bf16"][..ours.len()]
        .iter()
        .map(|name| (*name, env!("CARGO_PKG_VERSION")))
        .chain(peers.iter().map(|peer| (peer.name, peer.version.as_str())));
    let of = |(place, (name, version)): (usize, (&str, &str))| {
        let ratios: Vec<f64> = times[place].iter().zip(&times[0]).map(|(theirs, ours)| theirs / ours).collect();
        let ms = Spread::of(&times[place]);
        Engine {
            name: name.to_owned(),
            version: version.to_owned(),
            gflops: 1e3 * work.gflop() / ms.median,
            ms,
            ratio: (place > 0).then(|| Spread::of(&ratios)),
        }
    };
    Ok(Comparison {
        work: work.name.to_owned(),
        tokens: work.tokens(),
        gflop: work.gflop(),
        limit_gflops: Spread::of(&limits),
        engines: names.enumerate().map(of).collect(),
    })
}

/// Eight images in one call against one alone, by turns.
pub fn batches(rounds: usize) -> Result<Vec<Batch>> {
    let mut all = Vec::new();
    for (name, arch) in BATCHED {
        let (one, eight) =
            (Work::new(name, arch, (224, 224), 1).build()?, Work::new(name, arch, (224, 224), 8).build()?);
        let (mut alone, mut batched) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(1) {
            alone.push(one.turn(TURN)?);
            batched.push(eight.turn(TURN)? / 8.0);
        }
        let ratios: Vec<f64> = batched.iter().zip(&alone).map(|(batched, alone)| batched / alone).collect();
        all.push(Batch {
            work: name.to_owned(),
            alone_ms: Spread::of(&alone),
            in_eight_ms: Spread::of(&batched),
            ratio: Spread::of(&ratios),
        });
    }
    Ok(all)
}
