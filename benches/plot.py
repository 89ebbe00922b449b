"""Draws how time and memory grow, from a result of benches/speed: plot.py RESULT.json, pictures beside it."""

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


def main(result):
    growth = json.loads(result.read_text()).get("growth") or {}
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
