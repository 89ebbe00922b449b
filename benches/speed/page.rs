//! A result for people: tables in Markdown, the same on the terminal and in the file.

use std::fmt::Write as _;

use super::{
    report::{Comparison, FixedWork, Machine, Report},
    spread::Spread,
};

pub fn whole(report: &Report) -> String {
    let sections =
        [backbone, operators, memory, propagation, stages, trackers, growth, fixed].map(|section| section(report));
    format!("# Speed, {}\n\n{}\n{}", report.machine.date, machine(&report.machine), sections.concat())
}

pub fn machine(machine: &Machine) -> String {
    let Machine { date, cpu, cores, threads, commit } = machine;
    format!(
        "{cpu}, {cores} cores; {threads} threads for each engine; float32 where nothing else is said; sources {commit}, {date}.\n\
         Medians; spread is the width of the middle half in per cent of the median. What is compared was measured in\n\
         turns, and ratios are medians of each round's. `make bench` measures and writes all of this.\n"
    )
}

pub fn backbone(report: &Report) -> String {
    let Some(part) = &report.backbone else { return String::new() };
    let mut text = "\n## The network, one image\n".to_owned();
    part.comparisons.iter().for_each(|comparison| table(&mut text, comparison));
    text += "\n## Eight images in one call\n\n\
             | network | alone, ms | each of eight, ms | the second over the first |\n| --- | ---: | ---: | ---: |\n";
    for batch in &part.batches {
        let (alone, each, ratio) = (batch.alone_ms.median, batch.in_eight_ms.median, batch.ratio.median);
        let _ = writeln!(text, "| {} | {alone:.1} | {each:.1} | {ratio:.2} |", batch.work);
    }
    text
}

fn table(text: &mut String, comparison: &Comparison) {
    let Comparison { work, tokens, gflop, limit_gflops, engines } = comparison;
    let limit = limit_gflops.median;
    let _ = write!(
        text,
        "\n{work}: {tokens} tokens, {gflop:.1} GFLOP; limit of fused multiply-adds {limit:.1} GFLOP/s\n\n\
         | engine | median ms | min ms | spread | GFLOP/s | of the limit | its time / ours |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    );
    for engine in engines {
        let Spread { median, min, .. } = engine.ms;
        let ratio = engine.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", ratio.median));
        let (spread, gflops, share) = (engine.ms.percent(), engine.gflops, 100.0 * engine.gflops / limit);
        let _ = writeln!(
            text,
            "| {} {} | {median:.1} | {min:.1} | {spread:.1} % | {gflops:.1} | {share:.0} % | {ratio} |",
            engine.name, engine.version
        );
    }
}

pub fn operators(report: &Report) -> String {
    let Some(part) = &report.operators else { return String::new() };
    let mut text = "\n## A block, step by step\n\n\
                    ViT-S/8 on 240x416; before: candle's own operators, after: ours.\n\n\
                    | step | before, ms | after, ms | before / after |\n| --- | ---: | ---: | ---: |\n"
        .to_owned();
    for row in &part.rows {
        let (plain, ours) = (row.plain_ms, row.ours_ms);
        let _ = writeln!(text, "| {} | {plain:.2} | {ours:.2} | {:.2} |", row.name, plain / ours);
    }
    let (gemm, ours) = (part.gemm_gflops, part.ours_gflops);
    let _ = write!(
        text,
        "\nThe product to queries, keys and values: the `gemm` crate {gemm:.0} GFLOP/s; ours, with the norm before it and \
         the bias, {ours:.0} GFLOP/s, counted as the plain product.\n"
    );
    text
}

pub fn memory(report: &Report) -> String {
    let Some(part) = &report.memory else { return String::new() };
    let (peak, steady) = (&part.peak, &part.steady);
    let live = steady.live_slope_kb.map_or_else(String::new, |kb| format!("; of what is allocated, {kb:+.0} kB"));
    format!(
        "\n## Memory\n\n\
         ViT-S/8 at 480x832 ({} tokens), weights included: at most {:.0} MB resident ({:.0} MB until they were loaded).\n\
         The whole engine (ViT-Ti/16, 112x192) over {} frames: {:.1} MB at first, {:.1} MB at last, \
         {:+.0} kB in 1,000 frames by the nearest line ({:+.0} kB by that of the second half{live}).\n",
        peak.tokens,
        peak.peak_mb,
        peak.loaded_mb,
        steady.frames,
        steady.first_mb,
        steady.last_mb,
        steady.slope_kb,
        steady.late_slope_kb
    )
}

pub fn propagation(report: &Report) -> String {
    let Some(part) = &report.propagation else { return String::new() };
    format!(
        "\n## Propagation\n\n\
         ViT-S/8 at 480x832, 8 earlier frames, radius 12: {:.0} ms, the network {:.0} ms; {:.1} % of it.\n",
        part.ms.median, part.backbone_ms.median, part.percent.median
    )
}

pub fn stages(report: &Report) -> String {
    let Some(part) = &report.stages else { return String::new() };
    let mut text = format!(
        "\n## A frame in the daemon\n\n\
         `vtest.avi`, default settings, with the weights that maskd carries: the mean of {} frames, {} of which were searched.\n\n\
         | stage | ms | share |\n| --- | ---: | ---: |\n",
        part.frames, part.discoveries
    );
    for stage in &part.stages {
        let mark = if stage.part { "- " } else { "" };
        let _ = writeln!(text, "| {mark}{} | {:.2} | {:.1} % |", stage.name, stage.ms, stage.percent);
    }
    let latency = &part.latency;
    let _ = write!(
        text,
        "| all | {:.1} | 100 % |\n\n\
         Everything but the network, propagation, memory and label maps: {:.1} % of a frame.\n\
         A camera slower than the engine ({} frames): {:.1} ms from the decoder to published, {:.1} ms of it the \
         engine's work: {:.1} ms on the way.\n",
        part.frame_ms,
        part.around_percent,
        latency.frames,
        latency.total_ms,
        latency.compute_ms,
        latency.total_ms - latency.compute_ms
    );
    text
}

pub fn trackers(report: &Report) -> String {
    let Some(part) = &report.trackers else { return String::new() };
    let (alone, together, ratio) = (part.alone_ms.median, part.together_ms.median, part.ratio.median);
    format!(
        "\n## Trackers side by side\n\n\
         `vtest.avi` at {} places as so many cameras, one frame of each, all after the network: {alone:.0} ms on one thread, \
         {together:.0} ms on {}; {ratio:.2} of it.\n",
        part.cameras, part.threads
    )
}

pub fn growth(report: &Report) -> String {
    let Some(part) = &report.growth else { return String::new() };
    let mut text = "\n## Growth\n".to_owned();
    if !part.tokens.is_empty() {
        text += "\nViT-S/8, one image, weights included (`tokens.png`)\n\n\
                 | tokens | ms | peak MB |\n| ---: | ---: | ---: |\n";
        for at in &part.tokens {
            let _ = writeln!(text, "| {} | {:.0} | {:.0} |", at.tokens, at.ms, at.peak_mb);
        }
    }
    if !part.cameras.is_empty() {
        text += "\nThe daemon with cameras of 10 frames a second (`cameras.png`)\n\n\
                 | cameras | published a second | ms from capture | peak MB |\n| ---: | ---: | ---: | ---: |\n";
        for at in &part.cameras {
            let (fps, latency) = (at.frames_per_second, at.latency_ms);
            let _ = writeln!(text, "| {} | {fps:.2} | {latency:.0} | {:.0} |", at.cameras, at.peak_mb);
        }
    }
    if !part.instances.is_empty() {
        text += "\nFollowing drawn instances, everything after the network (`instances.png`)\n\n\
                 | instances | in sight at last | ms | peak MB |\n| ---: | ---: | ---: | ---: |\n";
        for at in &part.instances {
            let _ = writeln!(text, "| {} | {} | {:.1} | {:.0} |", at.instances, at.visible, at.step_ms, at.peak_mb);
        }
    }
    text
}

pub fn fixed(report: &Report) -> String {
    let Some(part) = &report.fixed else { return String::new() };
    let mut text = format!(
        "\n## A fixed camera\n\n\
         A drawn scene, {} frames, one thread: milliseconds, and nanoseconds for each pixel of the picture.\n\n| stage |",
        part.frames
    );
    for work in &part.works {
        let with = if work.features { "with features" } else { "pixels alone" };
        let unknown = if work.fixed { "" } else { ", NOT KNOWN TO BE FIXED" };
        let _ = write!(text, " {}x{} {with}{unknown} |", work.width, work.height);
    }
    let cells = |of: &dyn Fn(&FixedWork) -> Option<(f64, f64)>| {
        let cell = |work| of(work).map_or_else(|| " - |".to_owned(), |(ms, ns)| format!(" {ms:.2} ({ns:.1}) |"));
        part.works.iter().map(cell).collect::<String>()
    };
    let _ = writeln!(text, "\n| --- |{}", " ---: |".repeat(part.works.len()));
    for name in part.works.first().iter().flat_map(|work| &work.stages).map(|stage| &stage.name) {
        let of = |work: &FixedWork| {
            let stage = work.stages.iter().find(|stage| stage.name == *name)?;
            Some((stage.ms, stage.ns_per_pixel))
        };
        let _ = writeln!(text, "| {name} |{}", cells(&of));
    }
    let _ = writeln!(text, "| all |{}", cells(&|work| Some((work.ms.median, work.ns_per_pixel))));
    text += "| bytes of state for each pixel |";
    for work in &part.works {
        let bytes = work.bytes_per_pixel.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}"));
        let _ = write!(text, " {bytes} |");
    }
    let (threads, ms) = (part.threads, part.together_ms.median);
    let _ = writeln!(text, "\n\nThe first of them on {threads} threads at once, a camera each: {ms:.2} ms.");
    text
}
