"""Crossings of real things with exact truth: cut out of fixed cameras by their truth, set into the same camera's scene.

    crossings.py --root ROOT --out OUT [--seed 0] [--half first|second] [--each 2]

ROOT is the folder of the cameras (../shared/data/fixed). --half takes things and scene from the first or second half
of each sequence only: the first is for tuning, the second for reporting. --each says how many clips of each situation
a camera gives. What is written is the same for the same seed. Wants numpy and opencv-python-headless.

OUT/CAMERA-SITUATION-K/frames/NNNNN.jpg       25 frames a second; nothing but the scene for the first 2.2 s
                       truth/NNNNN.png        255 moving, 0 scene, 170 not judged (a thing's blended edge)
                       identities/NNNNN.png   0 scene, 1 and 2 the things, 255 not judged
                       about.json             what comes from where, its way, when the two touch, part, and one is hidden

passing    two move past each other in opposite directions, the nearer one in front
covering   the nearer one hides all of the other for half a second to a second; one of the two stands meanwhile
stopping   one stands for 4 s, the other passes it, then it goes on
twins      passing, with the same cut-out twice: at another phase of its walk, the other way

All ways are level, at about a walking person's speed for the height. A thing's shadow does not come with it. A thing
that stands is one frozen frame with the scene's noise upon it. Cars do not drive sideways, here they do: what matters
is that truth is exact. The farther thing of `covering` is made smaller until it fits behind the other.
"""

import argparse
import dataclasses
import json
import zlib

import cv2
import numpy as np

import scenes

SITUATIONS = ("passing", "covering", "stopping", "twins")
QUIET = 55  # frames of the scene alone at the start
REST = 10  # and at the end
STAND = 4 * scenes.FPS


@dataclasses.dataclass
class Thing:
    """A cut-out on its way: at frame `began + i` its feet are at `way[i]`, in picture `phases[i]`."""

    cutout: scenes.Cutout
    line: float
    way: list = dataclasses.field(default_factory=list)
    phases: list = dataclasses.field(default_factory=list)
    frozen: list = dataclasses.field(default_factory=list)
    began: int = 0
    stands: tuple = None
    scale: float = 1.0
    mirrored: bool = False

    def at(self, frame, size):
        """Picture, mask and where they lie in a frame of `size`, cropped; None where nothing is in sight."""
        index = frame - self.began
        if not 0 <= index < len(self.way):
            return None
        phase = self.phases[index]
        ax, ay = self.cutout.anchors[phase]
        picture, mask = self.cutout.pictures[phase], self.cutout.masks[phase]
        x, y = round(self.way[index] - ax), round(self.line - ay)
        x0, y0, x1, y1 = max(0, x), max(0, y), min(size[1], x + mask.shape[1]), min(size[0], y + mask.shape[0])
        if x1 <= x0 or y1 <= y0:
            return None
        part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        return picture[part], mask[part], np.s_[y0:y1, x0:x1], self.frozen[index]


def speed(cutout):
    """Pixels a frame: 1.4 m/s of a person 1.7 m high, within limits."""
    return float(np.clip(0.033 * cutout.height, 2.2, 4.5))


def go(thing, right, width, pace, phase, meet, stand=0, still=None):
    """Lays `thing`'s way through the whole picture and counts `began` so that it comes to `meet` at frame 0.

    It stands there for `stand` frames, in picture `still` (default: the one it arrives with).
    """
    half = max(mask.shape[1] for mask in thing.cutout.masks) / 2 + 3
    start, end = (-half, width + half) if right else (width + half, -half)
    step = pace if right else -pace
    before = int(np.ceil(abs(meet - start) / pace))
    after = int(np.ceil(abs(end - meet) / pace))
    count = len(thing.cutout.masks)
    offsets = list(range(-before, 0)) + [0] * stand + list(range(0, after + 1))
    # The walk is laid out backwards from `still`, so that it arrives in that picture.
    base = phase if still is None else still
    thing.way = [meet + step * offset for offset in offsets]
    thing.phases = [scenes.turning(base + offset, count) for offset in offsets]
    thing.frozen = [before <= i < before + stand for i in range(len(offsets))]
    thing.began = -before
    thing.stands = (0, stand) if stand else None


def choose(cutouts, rng, fits):
    """A nearer and a farther cut-out, mirrored by chance: of two tracks if there are such, else what there is."""
    pairs = [(a, b) for a in cutouts for b in cutouts if not b.cut]
    for better in (lambda a, b: a is not b, fits, lambda a, b: a.track != b.track):
        pairs = [(a, b) for a, b in pairs if better(a, b)] or pairs
    near, far = pairs[rng.integers(len(pairs))]
    line = min(far.feet, near.feet - rng.uniform(5, 20))
    things = []
    for cutout, feet in ((near, near.feet), (far, line)):
        mirror = bool(rng.integers(2))
        things.append(Thing(cutout.mirrored() if mirror else cutout, float(feet), mirrored=mirror))
    return things


def overlap(near, far):
    """Whether the farther one's body comes well into the nearer one's rows."""
    return near.feet - near.height + 0.35 * far.height < min(far.feet, near.feet - 20)


def passing(cutouts, rng, width, _turn):
    things = choose(cutouts, rng, overlap)
    right, meet = bool(rng.integers(2)), width * rng.uniform(0.4, 0.6)
    for thing, way in zip(things, (right, not right)):
        go(thing, way, width, speed(thing.cutout), rng.integers(len(thing.cutout.masks)), meet)
    return things


def twins(cutouts, rng, width, _turn):
    cutout = [c for c in cutouts if not c.cut]
    cutout = cutout[rng.integers(len(cutout))]
    near, far = Thing(cutout, cutout.feet), Thing(cutout, cutout.feet - float(rng.uniform(4, 12)))
    right, meet, phase = bool(rng.integers(2)), width * rng.uniform(0.4, 0.6), rng.integers(len(cutout.masks))
    go(near, right, width, speed(cutout), phase, meet)
    go(far, not right, width, speed(cutout), phase + rng.integers(7, 16), meet)
    return [near, far]


def stopping(cutouts, rng, width, turn):
    things = choose(cutouts, rng, overlap)
    right, same, meet = bool(rng.integers(2)), bool(rng.integers(2)), width * rng.uniform(0.4, 0.6)
    stops, walks = things if turn % 2 == 0 else things[::-1]
    go(stops, right, width, speed(stops.cutout), rng.integers(len(stops.cutout.masks)), meet, STAND)
    go(walks, right == same, width, speed(walks.cutout), rng.integers(len(walks.cutout.masks)), meet)
    walks.began += STAND // 2
    return things


def hiding(near, far):
    """Pictures of both, and where the farther one's feet must be from the nearer one's, so that nothing of it shows.

    Gives None where there is no such place. Places low down and in the middle come first.
    """
    best = None
    for i in range(0, len(near.masks), 10):
        front = near.masks[i].astype(np.float32)
        for j in range(0, len(far.masks), 10):
            behind = scenes.dilate(np.pad(far.masks[j], 1), 1).astype(np.float32)
            if behind.shape[0] > front.shape[0] or behind.shape[1] > front.shape[1]:
                continue
            y, x = np.nonzero(cv2.matchTemplate(front, behind, cv2.TM_CCORR) > behind.sum() - 0.5)
            dx = x + 1 + far.anchors[j][0] - near.anchors[i][0]
            dy = y + 1 + far.anchors[j][1] - near.anchors[i][1]
            cost = np.where(dy < -1.5, np.abs(dx) - dy, np.inf)
            if len(cost) and cost.min() < (best[0] if best else np.inf):
                k = cost.argmin()
                best = (cost[k], i, j, float(dx[k]), float(dy[k]))
    return best and best[1:]


def covering(cutouts, rng, width, turn):
    found = None
    for _ in range(8):
        near, far = choose(cutouts, rng, lambda a, b: True)
        for scale in np.arange(1, 0.34, -0.05):
            if found and scale <= found[0]:
                break
            small = far.cutout.scaled(float(scale))
            if place := hiding(near.cutout, small):
                found = (scale, near, dataclasses.replace(far, cutout=small, scale=round(float(scale), 2)), place)
                break
    if not found:
        return None
    _, near, far, (i, j, dx, dy) = found
    far.line = near.line + dy
    right, meet = bool(rng.integers(2)), width * rng.uniform(0.4, 0.6)
    hidden = int(rng.integers(13, 20))
    long, short = (near, far) if turn % 2 == 0 else (far, near)
    still = {id(near): i, id(far): j}
    lead = 15 + int(60 / speed(short.cutout))  # by how much the one that stands is there before
    go(long, right, width, speed(long.cutout), 0, meet if long is near else meet + dx, hidden + 2 * lead, still[id(long)])
    go(short, not right, width, speed(short.cutout), 0, meet if short is near else meet + dx, hidden, still[id(short)])
    short.began += lead
    short.stands = (lead, lead + hidden)
    return [near, far]


def settle(things):
    """Moves the common clock so that the first thing enters at QUIET; gives the number of frames."""
    shift = QUIET - min(thing.began for thing in things)
    for thing in things:
        thing.began += shift
        thing.stands = thing.stands and tuple(int(frame + shift) for frame in thing.stands)
    return max(thing.began + len(thing.way) for thing in things) + REST


def compose(scene, noise, things, frame):
    """Picture and identities at `frame`, and the whole mask of each thing, seen or not; `things`: nearer one first."""
    picture, identities, wholes = scene.astype(np.float32), np.zeros(scene.shape[:2], np.uint8), []
    for number in range(len(things), 0, -1):
        whole = np.zeros(scene.shape[:2], bool)
        if placed := things[number - 1].at(frame, scene.shape):
            image, mask, part, frozen = placed
            image = image.astype(np.float32) + (noise[part] if frozen else 0)
            edge = scenes.dilate(mask, 1) & ~mask
            picture[part][edge] = (picture[part][edge] + image[edge]) / 2
            picture[part][mask] = image[mask]
            identities[part][edge] = 255
            identities[part][mask] = number
            whole[part] = mask
        wholes.insert(0, whole)
    return picture.round().clip(0, 255).astype(np.uint8), identities, wholes


def span(frames):
    """First frame and the one after the last."""
    return [int(frames[0]), int(frames[-1]) + 1] if len(frames) else None


def clip(folder, scene, things, begin, about):
    length = settle(things)
    touch, visible = [], [[] for _ in things]
    for frame in range(length):
        picture, identities, wholes = compose(*scene.frame(begin + frame), things, frame)
        if (scenes.dilate(wholes[0], 2) & wholes[1]).any():
            touch.append(frame)
        for number, whole in enumerate(wholes, 1):
            visible[number - 1].append((identities == number).sum() / whole.sum() if whole.any() else None)
        truth = np.select([identities == 255, identities > 0], [scenes.UNKNOWN, scenes.MOVING]).astype(np.uint8)
        scenes.write(folder, frame, "frames", picture)
        scenes.write(folder, frame, "truth", truth)
        scenes.write(folder, frame, "identities", identities)
    about |= {"fps": scenes.FPS, "frames": length, "touch": span(touch), "things": []}
    for number, (thing, seen) in enumerate(zip(things, visible), 1):
        there = [frame for frame, share in enumerate(seen) if share is not None]
        cutout = thing.cutout
        about["things"].append({
            "identity": number, "nearer": number == 1, "feet_row": round(thing.line, 1), "in_picture": span(there),
            "moves_right": bool(thing.way[-1] > thing.way[0]), "stands": thing.stands,
            "hidden": span([frame for frame in there if seen[frame] == 0]),
            "least_visible": round(float(min(seen[frame] for frame in there)), 3),
            "source": {"first_frame": cutout.first, "frames": len(cutout.masks), "box": cutout.box, "track": cutout.track,
                       "mirrored": thing.mirrored, "scale": thing.scale},
        })
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    return about


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", choices=("first", "second"))
    parser.add_argument("--each", type=int, default=2)
    args = parser.parse_args()
    out, finish = scenes.complete(args.out)
    for camera in scenes.CAMERAS:
        frames, truths, offset = scenes.load(args.root, camera, args.half)
        cutouts, scene = scenes.cutouts(frames, truths, offset, camera), scenes.Scene(frames, truths)
        if all(cutout.cut for cutout in cutouts):
            print(f"{camera}: nothing whole to cut out")
            continue
        for situation in SITUATIONS:
            for turn in range(args.each):
                name = f"{camera}-{situation}-{turn + 1}"
                rng = np.random.default_rng([args.seed, zlib.crc32(name.encode())])
                things = globals()[situation](cutouts, rng, frames[0].shape[1], turn)
                if not things:
                    print(f"{name}: nothing found that hides another")
                    continue
                about = {"camera": camera, "situation": situation, "seed": args.seed, "half": args.half}
                about = clip(out / name, scene, things, int(rng.integers(len(frames))), about)
                seen = [thing["least_visible"] for thing in about["things"]]
                print(f"{name}: {about['frames']} frames, touch {about['touch']}, least visible {seen}", flush=True)
    finish()


if __name__ == "__main__":
    main()
