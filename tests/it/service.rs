//! The shipped systemd unit: it fits the program, systemd understands it, and it is locked up well.

use std::path::Path;

use crate::{
    skip::skip,
    support::{process::maskd, weights::TinyVit},
};

/// How long a client looks for its router before it gives up: see `src/publish/config.rs`.
const CONNECT_SECONDS: f64 = 10.0;

#[test]
fn the_service_unit_fits_the_daemon() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let unit = std::fs::read_to_string(configs.join("maskd.service")).unwrap();
    let value = |key: &str| {
        let prefix = format!("{key}=");
        unit.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {key}"))
    };
    assert_eq!(value("Type"), "notify");
    let grace = maskd::config::RuntimeConfig::default().grace_seconds;
    assert!(value("TimeoutStopSec").parse::<f64>().unwrap() > 2.0 * grace);
    // What dies at once is not tried for ever; a router out of reach, or a watchdog's kill, does not use up the tries.
    let seconds = |key: &str| value(key).parse::<f64>().unwrap();
    let tries = seconds("StartLimitBurst");
    assert!(tries * (seconds("RestartSec") + 1.0) < seconds("StartLimitIntervalSec"));
    assert!(tries * (seconds("RestartSec") + CONNECT_SECONDS) > seconds("StartLimitIntervalSec"));
    assert!(tries * (seconds("RestartSec") + seconds("WatchdogSec")) > seconds("StartLimitIntervalSec"));
    assert_eq!((value("Restart"), value("NotifyAccess")), ("on-failure", "main"));
    assert!(["2", "64", "65"].iter().all(|code| value("RestartPreventExitStatus").split(' ').any(|c| c == *code)));
    // Its command lines are ones that this program takes, on the configuration that this project ships.
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let shipped = configs.join("maskd.toml");
    for key in ["ExecStartPre", "ExecStart"] {
        let line = value(key).replace("/etc/maskd/maskd.toml", shipped.to_str().unwrap());
        let mut args: Vec<&str> = line.split(' ').skip(1).collect();
        args.extend(["--weights", weights.to_str().unwrap()]);
        if key == "ExecStart" {
            args.push("--help");
        }
        let output = maskd(&args);
        assert!(output.status.success(), "{key}: {output:?}");
        assert!(key == "ExecStart" || output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn the_service_is_locked_up_well() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/maskd.service");
    let mut command = std::process::Command::new("systemd-analyze");
    // The threshold is in tenths; the figure, 0 (locked up) to 10 (open), is on the last line.
    let judged = command.args(["security", "--offline=true", "--no-pager", "--threshold=25"]).arg(&unit).output();
    let Ok(judged) = judged else { return skip("systemd-analyze is absent") };
    let text = String::from_utf8_lossy(&judged.stdout);
    let Some((_, last)) = text.rsplit_once("Overall exposure level for maskd.service: ") else {
        return skip("this systemd-analyze judges no files (systemd 250 does)");
    };
    let figure: f64 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(judged.status.success() && figure <= 2.5, "{text}");
}

#[test]
fn systemd_understands_the_unit() {
    let home = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/maskd.service")).unwrap();
    let verify = |text: &str| {
        let path = home.path().join("maskd.service");
        // The program is looked for, and is not installed here.
        std::fs::write(&path, text.replace("/usr/local/bin/maskd", env!("CARGO_BIN_EXE_maskd"))).unwrap();
        let output = std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
        output.map(|output| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            said.lines().filter(|line| line.contains("maskd.service")).map(str::to_owned).collect::<Vec<_>>()
        })
    };
    match verify(&unit.replace("WatchdogSec=30", "WatchdogSecs=30")) {
        Ok(faults) if faults.iter().any(|fault| fault.contains("WatchdogSecs")) => {}
        Ok(_) => return skip("this systemd-analyze verifies nothing offline"),
        Err(_) => return skip("systemd-analyze is absent"),
    }
    assert_eq!(verify(&unit).unwrap(), Vec::<String>::new());
}
