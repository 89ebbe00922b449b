"""A long clip of a fixed camera: a sequence looped under a day's light, with things that come, stay and go.

    day.py --root ROOT --camera CAMERA --out OUT [--loops 4] [--stays 2] [--minutes 0.5] [--depth 0.35] [--seed 0]

Writes OUT/frames/NNNNNN.jpg (quality 90), OUT/truth/NNNNNN.png (255 moving, 0 scene, 170 not judged),
OUT/stays/NNNNNN.png (0, or 1, 2, ... for what has come to stay) and OUT/about.json, at 25 frames a second. A loop is
the sequence forth and back, so that nothing jumps; ROOT/CAMERA is as in ../shared/data/fixed. 24 hours of stream time
are 2.16 million frames: --loops 3661 for HallAndMonitor, about 8 hours to write and 70 GB. The default is 1.6 minutes.

Light    the light falls from 1 by --depth and comes back over the clip, as cos, and its colour turns warmer as it falls
stays    a cut-out comes in from the side, stands for --minutes and goes, --stays times, one after the other over the
         clip, where what moves in the sequence does not stand for longest; it is in front of all that moves
Truth has what stays as 255 all the time; whoever judges it as part of the scene after a while has OUT/stays.
"""

import argparse
import json
import pathlib

import cv2
import numpy as np

import crossings
import scenes


def light(share, depth):
    """Factor of each of blue, green and red at `share` of the clip."""
    low = 0.5 - 0.5 * np.cos(2 * np.pi * share)
    return np.array([1 - 1.15 * depth * low, 1 - depth * low, 1 - 0.85 * depth * low], np.float32)


def visits(cutouts, busy, rng, total, args):
    """Who stays, one after the other, each as a thing whose way lies within its part of the clip."""
    width, part = busy.shape[1], total // max(1, args.stays)
    things = []
    for number in range(args.stays):
        cutout = cutouts[rng.integers(len(cutouts))]
        thing = crossings.Thing(cutout, cutout.feet)
        half = int(max(mask.shape[1] for mask in cutout.masks) / 2) + 1
        rows = slice(max(0, int(cutout.feet - cutout.height)), int(cutout.feet))
        places = range(half, max(half + 1, width - half), 4)
        meet = min(places, key=lambda x: busy[rows, x - half : x + half].sum())
        stand = int(args.minutes * 60 * scenes.FPS)
        crossings.go(thing, bool(rng.integers(2)), width, crossings.speed(cutout), 0, meet, stand)
        if len(thing.way) > part:
            minutes = total / scenes.FPS / 60
            raise SystemExit(f"{args.stays} stays of {args.minutes} minutes do not fit in {minutes:.1f}: give more --loops")
        shift = part * number + (part - len(thing.way)) // 2 - thing.began
        thing.began += shift
        thing.stands = tuple(frame + shift for frame in thing.stands)
        things.append(thing)
    return things


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--camera", default="HallAndMonitor")
    parser.add_argument("--out", required=True)
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--stays", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--depth", type=float, default=0.35)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    frames, truths, offset = scenes.load(args.root, args.camera)
    busy = np.mean([truth != 0 for truth in truths], axis=0)
    cutouts = [c for c in scenes.cutouts(frames, truths, offset, args.camera) if not c.cut]
    scene, rng = scenes.Scene(frames, truths), np.random.default_rng(args.seed)
    total = args.loops * (2 * len(frames) - 2)
    things = visits(cutouts, busy, rng, total, args)
    out, finish = scenes.complete(args.out)
    for frame in range(total):
        index = scenes.turning(frame, len(frames))
        picture, truth = frames[index], truths[index].copy()
        stays = np.zeros(truth.shape, np.uint8)
        for number, thing in enumerate(things, 1):
            if thing.at(frame, picture.shape):
                picture, who, _ = crossings.compose(picture, scene.noise(index), [thing], frame)
                truth[who == 1], truth[who == 255] = scenes.MOVING, scenes.UNKNOWN
                stays[who == 1] = number
        picture = (picture * light(frame / total, args.depth)).clip(0, 255).round().astype(np.uint8)
        for kind, image in (("frames", picture), ("truth", truth), ("stays", stays)):
            scenes.write(out, frame, kind, image, 6)
    about = {
        "camera": args.camera, "seed": args.seed, "fps": scenes.FPS, "frames": total, "loop": 2 * len(frames) - 2,
        "depth": args.depth,
        "stays": [
            {"number": number, "feet_row": round(thing.line, 1), "walks": [thing.began, thing.began + len(thing.way)],
             "stands": thing.stands, "source": {"first_frame": thing.cutout.first, "box": thing.cutout.box}}
            for number, thing in enumerate(things, 1)
        ],
    }
    pathlib.Path(out, "about.json").write_text(json.dumps(about, indent=1) + "\n")
    finish()
    print(f"{args.out}: {total} frames, {total / scenes.FPS / 60:.1f} minutes")


if __name__ == "__main__":
    main()
