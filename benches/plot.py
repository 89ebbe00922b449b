"""Draws what was measured: plot.py RESULT.json, pictures beside it.

From a result of benches/speed, how time and memory grow; from one of `make soak` or `make cycles`, what the daemon held.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

TIME, MEMORY = "#1f5fa8", "#c2571a"


def draw(path, title, across, points, x, series):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(7.2, 2.8), dpi=90)
    for axis, key, label, colour in zip((left, right), *series, (TIME, MEMORY)):
        axis.plot([p[x] for p in points], [p[key] for p in points], "o-", color=colour, linewidth=1.5, markersize=4)
        axis.set(xlabel=across, ylabel=label, xlim=(0, None), ylim=(0, 1.1 * max(p[key] for p in points)))
        axis.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def held(path, title, across, panels):
    """What the daemon held: memory to the left, handles and threads to the right; a panel is (name, x, looks)."""
    figure, rows = pyplot.subplots(len(panels), 2, figsize=(7.2, 0.6 + 2.2 * len(panels)), dpi=90, squeeze=False)
    for (left, right), (name, x, looks) in zip(rows, panels):
        for axis, lines in ((left, (("resident_bytes", "in RAM", TIME), ("heap_bytes", "allocated", MEMORY))),
                            (right, (("files", "open files", TIME), ("threads", "threads", MEMORY)))):
            scale = 1e6 if axis is left else 1
            for key, label, colour in lines:
                axis.plot(x, [look[key] / scale for look in looks], "-", color=colour, linewidth=1.2, label=label)
            axis.set(xlabel=name or across, ylabel="MB" if axis is left else "", xlim=(0, None), ylim=(0, None))
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7, loc="lower right")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main(result):
    told = json.loads(result.read_text())
    if points := told.get("points"):
        minutes = [point["seconds"] / 60 for point in points]
        return held(result.with_suffix(".png"), f"The daemon with {told['cameras']} cameras", "minutes",
                    [("", minutes, points)])
    if told.get("add_remove"):
        panels = [(name, [p["mishaps"] for p in told[key]], [p["held"] for p in told[key]]) for key, name in
                  (("restarts", "camera restarts"), ("add_remove", "cameras added and removed"))]
        return held(result.with_suffix(".png"), "The daemon while cameras break, come and go", "", panels)
    growth = told.get("growth") or {}
    if tokens := growth.get("tokens"):
        draw(result.with_name("tokens.png"), "ViT-S/8, one image", "tokens", tokens, "tokens",
             (("ms", "peak_mb"), ("ms an image", "peak memory, MB")))
    if cameras := growth.get("cameras"):
        draw(result.with_name("cameras.png"), "The daemon, 10 frames/s from each camera", "cameras", cameras, "cameras",
             (("latency_ms", "peak_mb"), ("ms from capture to published", "peak memory, MB")))
    if instances := growth.get("instances"):
        draw(result.with_name("instances.png"), "Following instances, one frame", "instances", instances, "instances",
             (("step_ms", "peak_mb"), ("ms for masks after the network", "peak memory, MB")))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
