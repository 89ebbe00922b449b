"""A step of load: the daemon with one camera, then eight, then one again, and what it made of it, as one picture.

    overload.py target/release/maskd VIDEO OUT.png [--seconds 30] [--cameras 8]

Each camera plays VIDEO at its own pace. Cameras come and go as they do for a user: the configuration file is written anew.
Reads /metrics twice a second; writes OUT.png and, beside it, OUT.json. Wants matplotlib.
"""

import argparse
import json
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.request

SAMPLE = re.compile(r'^(maskd_[a-z_]+)(?:\{(.*)\})? ([^ ]+)$')


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def configuration(ports, video, cameras):
    streams = "".join(f"[streams.camera-{i}]\nkind = 'file'\nlocation = '{video}'\nloop = true\n" for i in range(cameras))
    return (f"[admin]\nlisten = '127.0.0.1:{ports[0]}'\n[publish]\nlisten = ['tcp/127.0.0.1:{ports[1]}']\n"
            f"[model]\ndevice = 'cpu'\n{streams}")


def scrape(port):
    """Sums of all streams: published, captured, paced and superseded frames, latency; the level; what limits there are."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    seen = {"published": {}, "paced": 0, "superseded": 0, "level": [], "load": 0.0, "sum": 0.0, "count": 0.0}
    for name, labels, value in (m.groups() for m in map(SAMPLE.match, text.splitlines()) if m):
        value = float(value)
        if name == "maskd_frames_published_total":
            seen["published"][labels] = value
        elif name == "maskd_frames_dropped_total":
            for cause in ("Paced", "Superseded"):
                seen[cause.lower()] += value if f'cause="{cause}"' in labels else 0
        elif name == "maskd_stream_level":
            seen["level"].append(value)
        elif name == "maskd_engine_load":
            seen["load"] = value
        elif 'stage="Total"' in (labels or "") and name.startswith("maskd_stage_latency_seconds_"):
            kind = name.rsplit("_", 1)[1]
            if kind in ("sum", "count"):
                seen[kind] = value
    return seen


def measure(args):
    ports, points = (free_port(), free_port()), []
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "maskd.toml")
        config.write_text(configuration(ports, args.video, 1))
        log = pathlib.Path(folder, "log").open("w")
        daemon = subprocess.Popen([args.maskd, "run", "--config", str(config)], stdout=log, stderr=log)
        try:
            while not (scrape(ports[0]) or {}).get("count"):
                time.sleep(0.2)
                if daemon.poll() is not None:
                    raise SystemExit(pathlib.Path(folder, "log").read_text())
            start, cameras, before = time.monotonic(), 1, None
            while (now := time.monotonic() - start) < 3 * args.seconds:
                wanted = args.cameras if args.seconds <= now < 2 * args.seconds else 1
                if wanted != cameras:
                    cameras = wanted
                    config.with_suffix(".new").write_text(configuration(ports, args.video, cameras))
                    config.with_suffix(".new").replace(config)
                seen = scrape(ports[0])
                if seen and before:
                    there = [s for s in seen["published"] if s in before[1]["published"]]
                    frames = sum(seen["published"][s] - before[1]["published"][s] for s in there)
                    count = seen["count"] - before[1]["count"]
                    points.append({
                        "s": now, "cameras": cameras, "streams": len(seen["published"]), "load": seen["load"],
                        "fps": frames / (now - before[0]) / max(len(there), 1), "level": max(seen["level"], default=1.0),
                        "latency_ms": 1e3 * (seen["sum"] - before[1]["sum"]) / count if count else None,
                    })
                before = (now, seen) if seen else before
                time.sleep(0.5)
        finally:
            daemon.terminate()
            daemon.wait()
    return points


def draw(points, out, args):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = (("fps", "published frames/s\nof each camera"), ("level", "resolution"), ("latency_ms", "ms from capture\nto published"))
    figure, axes = pyplot.subplots(3, 1, figsize=(7.2, 5.2), dpi=90, sharex=True)
    for axis, (key, label) in zip(axes, rows):
        known = [p for p in points if p[key] is not None]
        axis.step([p["s"] for p in known], [p[key] for p in known], where="pre", color="#1f5fa8", linewidth=1.3)
        axis.set(ylabel=label, ylim=(0, 1.1 * max(p[key] for p in known)))
        axis.axvspan(args.seconds, 2 * args.seconds, color="#c2571a", alpha=0.12)
        axis.grid(alpha=0.3)
    axes[2].set(xlabel="seconds", xlim=(0, 3 * args.seconds))
    figure.suptitle(f"One camera, then {args.cameras} (shaded), then one", fontsize=10)
    figure.tight_layout()
    figure.savefig(out)


def summary(points, args):
    """What each phase came to, over its last third."""
    for phase, name in enumerate(("one camera", f"{args.cameras} cameras", "one camera again")):
        begin, end = args.seconds * (phase + 2 / 3), args.seconds * (phase + 1)
        last = [p for p in points if begin <= p["s"] < end]
        mean = lambda key: sum(p[key] for p in last if p[key] is not None) / max(len(last), 1)
        levels = [p["level"] for p in points if args.seconds * phase <= p["s"] < end]
        changes = sum(a != b for a, b in zip(levels, levels[1:]))
        print(f"{name}: {mean('fps'):.2f} frames/s of each, level {levels[-1]}, {mean('latency_ms'):.0f} ms, "
              f"load {mean('load'):.2f}, {changes} changes of level")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maskd")
    parser.add_argument("video")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--cameras", type=int, default=8)
    args = parser.parse_args()
    args.video = str(pathlib.Path(args.video).resolve())
    points = measure(args)
    args.out.with_suffix(".json").write_text(json.dumps(points))
    summary(points, args)
    draw(points, args.out, args)


if __name__ == "__main__":
    main()
