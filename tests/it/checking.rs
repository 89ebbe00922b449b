//! `maskd check` and `maskd run` refuse the same, in the same lines, and all of it at once; a reload does too.

use std::path::Path;

use maskd::{frame::Size, mask::LabelMap};

use crate::{
    reload::{Edge, REFUSED},
    support::{process::maskd, until, weights::TinyVit},
};

/// A folder with what faulty configurations name.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        TinyVit::default().write(&home.path("tiny.safetensors"), 7);
        let size = Size::new(4, 2);
        LabelMap::new(size).write_png(&home.path("blank.png")).unwrap();
        LabelMap { size, labels: (0..8).collect() }.write_png(&home.path("seven.png")).unwrap();
        std::fs::write(home.path("text.pth"), "no weights").unwrap();
        std::fs::write(home.path("odd.launch"), "videotestsrc name=source ! magicscale ! appsink name=frames").unwrap();
        std::fs::write(home.path("odd.json5"), "{ lisen: 1 ").unwrap();
        std::fs::create_dir(home.path("folder")).unwrap();
        home
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Writes a configuration whose lines 1 to 3 are `[model]` with good weights; `@` is this folder.
    fn config(&self, text: &str) -> String {
        let path = self.path("x.toml");
        let text = format!("[model]\ndevice = 'cpu'\nweights = '@/tiny.safetensors'\n{text}");
        std::fs::write(&path, text.replace('@', self.0.path().to_str().unwrap())).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What `maskd check` and `maskd run` say of a configuration, which must be the same: exit code and lines.
    fn told(&self, text: &str, more: &[&str]) -> (i32, Vec<String>) {
        let file = self.config(text);
        let [check, run] = ["check", "run"].map(|command| {
            let output = maskd(&[&[command, "--config", &file], more].concat());
            let text = String::from_utf8(output.stderr).unwrap();
            let lines = text.lines().map(|line| line.strip_prefix("maskd: error: ").unwrap_or(line).to_owned());
            (output.status.code().unwrap(), lines.map(|line| line.replace(&file, "x.toml")).collect::<Vec<_>>())
        });
        assert_eq!(check, run, "{text}");
        check
    }
}

const STREAM: &str = "[streams.a]\nkind = 'test'\n";

/// Each class of fault: the configuration, the exit code, and how its lines begin and go on.
#[expect(clippy::type_complexity, reason = "a table, read row by row")]
const FAULTS: &[(&str, i32, &[(&str, &str)])] = &[
    ("", 64, &[("x.toml: streams: ", "add a table [streams.NAME]")]),
    (
        "shorts = 1\n[streams.a]\nkind = 'test'\nweigth = 2\nlatency_ms = 'x'\n",
        64,
        &[
            ("x.toml:4: model.shorts: ", "unknown field"),
            ("x.toml:7: streams.a.weigth: ", "unknown field"),
            ("x.toml:8: streams.a.latency_ms: ", "invalid type"),
        ],
    ),
    ("[streams.a]\nkind = 'rstp'\nlocation = 'x'\n", 64, &[("x.toml:5: streams.a.kind: ", "did you mean `rtsp`?")]),
    ("[streams]\na = { kind = 'test',\n weight = 0 }\n", 64, &[("x.toml:6: streams.a.weight: ", "1 to 100")]),
    (
        "[streams.a]\nkind = 'test'\nkind = 'test'\nweight = 0\n",
        64,
        &[("x.toml:6: kind: ", "duplicate key"), ("x.toml:7: streams.a.weight: ", "1 to 100")],
    ),
    ("[streams.a\nkind = 'test'\n", 64, &[("x.toml:4: ", "")]),
    (
        "[runtime]\nmax_batch = 0\nstall_seconds = 0\n[overload]\nmin_fps = -1\nlevels = []\n[log]\nlevel = 'a=b=c'\n\
         [tracker]\nmax_instances = 0\nmotion.adapt = 2\n[streams.a]\nkind = 'test'\nretry_max_s = 0\nmax_gap_s = 0\n",
        64,
        &[
            ("x.toml:5: runtime.max_batch: ", "1 to 64"),
            ("x.toml:6: runtime.stall_seconds: ", "1 to 3600"),
            ("x.toml:8: overload.min_fps: ", "0 to 1000"),
            ("x.toml:9: overload.levels: ", "1 to 8 shares"),
            ("x.toml:11: log.level: ", "a=b=c"),
            ("x.toml:13: tracker.max_instances: ", "1 to 255"),
            ("x.toml:14: tracker.motion.adapt: ", "0 to 1"),
            ("x.toml:17: streams.a.retry_max_s: ", "above 0"),
            ("x.toml:18: streams.a.max_gap_s: ", "above 0"),
        ],
    ),
    (
        "[streams.a]\nkind = 'file'\npace = 'fast'\n[streams.b]\nkind = 'test'\npace = 'fast'\nloop = true\nuser = 'u'\n",
        64,
        &[
            ("x.toml:4: streams.a.location: ", "missing"),
            ("x.toml:9: streams.b.pace: ", "needs kind"),
            ("x.toml:10: streams.b.loop: ", "needs kind"),
            ("x.toml:11: streams.b.user: ", "only kind"),
        ],
    ),
    (
        "[publish]\nmode = 'client'\nlisten = ['tcp/127.0.0.1:1', 'ws/x:1', 'x']\nmax_message_bytes = 1\n[streams.a]\nkind = 'test'\n",
        64,
        &[
            ("x.toml:4: publish.connect: ", "router"),
            ("x.toml:6: publish.listen: ", "protocol ws"),
            ("x.toml:6: publish.listen: ", "protocol/address"),
            ("x.toml:6: publish.listen: ", "cannot listen"),
            ("x.toml:7: publish.max_message_bytes: ", "1024 to 65000"),
        ],
    ),
    // What is named.
    ("short_side = 5\n[streams.a]\nkind = 'test'\n", 64, &[("x.toml:4: model.short_side: ", "one patch")]),
    (
        "propagation_block = 99\nprecision = 'f16'\n[streams.a]\nkind = 'test'\n",
        64,
        &[("x.toml:4: model.propagation_block: ", "no block 99"), ("x.toml:5: model.precision: ", "needs a GPU")],
    ),
    (
        "[streams.a]\nkind = 'file'\nlocation = '/nowhere/a.mp4'\n",
        74,
        &[("x.toml:6: streams.a.location: /nowhere/a.mp4", "No such")],
    ),
    (
        "[streams.a]\nkind = 'file'\nlocation = '@/folder'\nloop = true\n",
        65,
        &[("x.toml:6: streams.a.location: ", "a folder")],
    ),
    (
        "[streams.a]\nkind = 'test'\nfirst_mask = '@/blank.png'\n",
        65,
        &[("x.toml:6: streams.a.first_mask: ", "marks nothing")],
    ),
    (
        "[streams.a]\nkind = 'test'\nfirst_mask = '/nowhere/m.png'\n",
        74,
        &[("x.toml:6: streams.a.first_mask: ", "No such")],
    ),
    (
        "[tracker]\nmax_instances = 6\n[streams.a]\nkind = 'test'\nfirst_mask = '@/seven.png'\n",
        65,
        &[("x.toml:8: streams.a.first_mask: ", "seven.png: it marks 7 instances, and [tracker] max_instances is 6")],
    ),
    (
        "[publish]\nzenoh_config = '/nowhere/z.json5'\n[streams.a]\nkind = 'test'\n",
        74,
        &[("x.toml:5: publish.zenoh_config: ", "No such")],
    ),
    (
        "[publish]\nzenoh_config = '@/odd.json5'\n[streams.a]\nkind = 'test'\n",
        64,
        &[("x.toml:5: publish.zenoh_config: ", "odd.json5")],
    ),
    ("[streams.a]\npipeline = '@/odd.launch'\n", 64, &[("x.toml:5: streams.a.pipeline: ", "magicscale")]),
    ("[streams.a]\npipeline = '@/folder'\n", 64, &[("x.toml:5: streams.a.pipeline: ", "a folder")]),
    (
        "[streams.a]\nkind = 'rtsp'\nlocation = 'rtsp://x/'\npassword_file = '/nowhere/pw'\n\
         [streams.a.properties.source]\ntcp-timeot = 1\nlatency = 'x'\n",
        64,
        &[
            ("x.toml:7: streams.a.password_file: ", "/nowhere/pw"),
            ("x.toml:9: streams.a.properties.source.tcp-timeot: ", ""),
            ("x.toml:10: streams.a.properties.source.latency: ", ""),
        ],
    ),
    // Of several codes, the lowest.
    (
        "[publish]\nzenoh_config = '/nowhere/z.json5'\n[streams.a]\nkind = 'test'\nfirst_mask = '@/blank.png'\nweight = 0\n",
        64,
        &[
            ("x.toml:5: publish.zenoh_config: ", "No such"),
            ("x.toml:8: streams.a.first_mask: ", "marks nothing"),
            ("x.toml:9: streams.a.weight: ", "1 to 100"),
        ],
    ),
];

#[test]
fn check_and_run_refuse_the_same_in_the_same_lines_and_all_at_once() {
    let home = Home::new();
    for (text, code, expected) in FAULTS {
        let (exit, lines) = home.told(text, &[]);
        assert_eq!((exit, lines.len()), (*code, expected.len()), "{text}: {lines:#?}");
        for (line, (start, word)) in lines.iter().zip(*expected) {
            assert!(line.starts_with(start) && line.contains(word), "{text}: {line} is not {start} ... {word}");
        }
    }
}

#[test]
fn what_an_option_gave_is_told_as_the_options() {
    let home = Home::new();
    let weights = home.path("text.pth");
    let (exit, lines) = home.told(&format!("short_side = 5\n{STREAM}"), &["--weights", weights.to_str().unwrap()]);
    assert_eq!((exit, lines.len()), (65, 1), "{lines:?}");
    assert!(lines[0].starts_with("--weights: ") && lines[0].contains("text.pth"), "{lines:?}");
}

#[test]
fn a_reload_refuses_whole_and_says_every_fault() {
    let it = Edge::new("reload_on_change = false", STREAM);
    it.flows("a", 3);
    let faulty =
        "[streams.a]\nkind = 'test'\nweight = 0\nwieght = 1\n[streams.b]\nkind = 'file'\nlocation = '/nowhere/a.mp4'\n";
    it.rewrite(faulty);
    it.daemon.signal("HUP");
    let file = it.home.path().join("maskd.toml");
    let check = maskd(&["check", "--config", file.to_str().unwrap()]);
    let check = String::from_utf8(check.stderr).unwrap();
    let lines: Vec<_> = check.lines().map(|line| line.strip_prefix("maskd: error: ").unwrap()).collect();
    assert_eq!(lines.len(), 3, "{check}");
    for line in &lines {
        let words = format!("{REFUSED}: {line}");
        let told = |event: &serde_json::Value| event["message"].as_str().is_some_and(|message| message == words);
        until(&words, || it.daemon.events().iter().any(told).then_some(()));
    }
    let ready = it.ready();
    assert_eq!(ready["streams"].as_object().unwrap().len(), 1, "{ready}");
    it.flows("a", 3);
    it.stop();
}

/// Named pipes that nobody writes to, in place of each file: an error at once, for every command.
#[test]
fn a_pipe_is_no_file_for_any_command() {
    let home = Home::new();
    let pipe = home.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (text, line) in [
        ("[streams.a]\nkind = 'file'\nlocation = '@/pipe'\n", "x.toml:6: streams.a.location: "),
        ("[streams.a]\nkind = 'test'\nfirst_mask = '@/pipe'\n", "x.toml:6: streams.a.first_mask: "),
        ("[streams.a]\npipeline = '@/pipe'\n", "x.toml:5: streams.a.pipeline: "),
        (
            "[streams.a]\nkind = 'rtsp'\nlocation = 'rtsp://x/'\npassword_file = '@/pipe'\n",
            "x.toml:7: streams.a.password_file: ",
        ),
        ("[publish]\nzenoh_config = '@/pipe'\n[streams.a]\nkind = 'test'\n", "x.toml:5: publish.zenoh_config: "),
    ] {
        let (_, lines) = home.told(text, &[]);
        assert!(
            lines.len() == 1 && lines[0].starts_with(line) && lines[0].contains("a named pipe"),
            "{text}: {lines:?}"
        );
    }
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (pipe, weights, out) = (path(&pipe), path(&home.path("tiny.safetensors")), path(&home.path("out")));
    let picture = path(&home.path("picture.png"));
    image::RgbImage::new(28, 28).save(&picture).unwrap();
    let frames = home.path("frames");
    std::fs::create_dir(&frames).unwrap();
    std::fs::copy(&picture, frames.join("0.png")).unwrap();
    let frames = path(&frames);
    for words in [
        &["check", "--config", &pipe][..],
        &["run", "--config", &pipe],
        &["run", &pipe],
        &["run", "test", "--weights", &pipe],
        &["run", "test", "--weights", &weights, "--first-mask", &pipe],
        &["segment", &pipe, "--out", &out],
        &["segment", &frames, "--out", &out, "--first-mask", &pipe],
        &["segment", &frames, "--out", &out, "--weights", &pipe],
        &["attention", &pipe, "--out", &out],
        &["attention", &frames, "--out", &out, "--weights", &pipe],
        &["prompt", "a", "--mask", &pipe],
        &["prompt", "a", "--reset", "--zenoh-config", &pipe],
        &["watch", "--zenoh-config", &pipe],
        &["reload", "--zenoh-config", &pipe],
        &["weights", "info", &pipe],
        &["eval", "davis", "--root", &frames, "--set", &pipe, "--results", &frames],
    ] {
        let output = maskd(words);
        let text = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<_> = text.lines().filter(|line| line.starts_with("maskd: error: ")).collect();
        assert!(!output.status.success() && errors.len() == 1 && errors[0].contains("pipe"), "{words:?}: {text}");
    }
}

#[test]
fn a_pipe_in_place_of_the_configuration_is_refused_and_the_daemon_still_ends_when_asked() {
    let it = Edge::new("reload_on_change = false", STREAM);
    it.flows("a", 3);
    let file = it.home.path().join("maskd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let pipe = it.home.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &file).unwrap();
    it.hang_up(REFUSED);
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&file, format!("{text}first_mask = '{}'\n", pipe.display())).unwrap();
    it.hang_up(REFUSED);
    it.flows("a", 3);
    it.stop();
}
