"""Scores masks of vtest.avi against the people in vtest.csv and the standing things in vtest-static.csv.

    maskd segment vtest.avi --out MASKS
    vtest_score.py MASKS [--persons] [--json FILE]

MASKS holds one indexed PNG for each frame, NNNNN.png counted from 00000 (0 scene, else an instance's id). Judged are the
80 frames that vtest.csv has. Wants numpy, scipy, pillow and opencv-python-headless.

An instance is an id of at least 50 pixels in a frame; its box is that of its parts of at least a tenth of its largest
part. In each frame boxes and instances are matched one to one with the largest sum of IoU, pairs of IoU >= 0.4 only.
Boxes with sure = 0 take part, but neither a match nor a miss counts there, nor does an unmatched instance that lies
by half or more in one of them.

ids a person   mean, over the ids of vtest.csv that were ever matched, of how many instance ids they were matched with in
               all judged frames. An id of vtest.csv is one stay in the picture; --persons counts those who come back as
               one. Bar 1.3
two people     share of judged frames in which some instance covers two people (fills a quarter or more of each sure
               box) whose boxes are apart, to the side or in height, by more than their mean width. Bar 2 %
standing       standing things ever taken for an instance: one instance covers half or more of the thing's box in more
               than 5 judged frames, or lies by 60 % or more in the box, and not by half in a person's, in any. Frames in
               which people's boxes cover 30 % or more of the thing do not count, but for things in front of all. Bar 0
recall         matched among sure boxes
precision      matched among instances that count
IDF1           2 m / (sure boxes + instances that count), with m the most matches that a one to one assignment of
               vtest.csv's ids to instance ids for the whole clip keeps
"""

import argparse
import collections
import csv
import json
import pathlib

import cv2
import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

HERE = pathlib.Path(__file__).parent
LEAST_PIXELS, LEAST_IOU = 50, 0.4


def rows(name):
    with open(HERE / name, newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        return [{k: v if k == "name" else int(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def corners(row):
    return np.array([row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"]])


def inside(mask, row):
    return int(mask[row["y"] : row["y"] + row["h"], row["x"] : row["x"] + row["w"]].sum())


def iou(a, b):
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(0, w) * max(0, h)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def instances(labels):
    """Mask and box of each instance of a frame by its id."""
    found = {}
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        if mask.sum() < LEAST_PIXELS:
            continue
        _, _, parts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        parts = parts[1:][parts[1:, 4] >= 0.1 * parts[1:, 4].max()]
        found[int(label)] = mask, np.concatenate([parts[:, :2].min(0), (parts[:, :2] + parts[:, 2:4]).max(0)])
    return found


def match(people, found):
    """Pairs of (index of a person, instance id)."""
    if not people or not found:
        return []
    table = np.array([[iou(corners(person), box) for _, box in found.values()] for person in people])
    table[table < LEAST_IOU] = 0
    names = list(found)
    return [(i, names[j]) for i, j in zip(*linear_sum_assignment(-table)) if table[i, j] > 0]


def over_two(people, found):
    """Whether an instance covers two people that stand apart."""
    for mask, _ in found.values():
        held = [p for p in people if p["sure"] and inside(mask, p) >= 0.25 * p["w"] * p["h"]]
        for i, a in enumerate(held):
            for b in held[:i]:
                gap = np.maximum(corners(a)[:2], corners(b)[:2]) - np.minimum(corners(a)[2:], corners(b)[2:])
                if gap.max() > (a["w"] + b["w"]) / 2:
                    return True
    return False


def taken(thing, people, found):
    """Of a standing thing in a frame: whether an instance covers it, whether one lies in it."""
    if not thing["front"]:
        near = np.zeros((thing["h"], thing["w"]), bool)
        for p in people:
            y, x = p["y"] - thing["y"], p["x"] - thing["x"]
            near[max(0, y) : max(0, y + p["h"]), max(0, x) : max(0, x + p["w"])] = True
        if near.mean() >= 0.3:
            return False, False
    area = thing["w"] * thing["h"]
    over = any(inside(mask, thing) >= 0.5 * area for mask, _ in found.values())
    lies = any(
        inside(mask, thing) >= 0.6 * mask.sum() and not any(inside(mask, p) >= 0.5 * mask.sum() for p in people)
        for mask, _ in found.values()
    )
    return over, lies


def score(folder, who):
    frames = collections.defaultdict(list)
    for row in rows("vtest.csv"):
        frames[row["frame"]].append(row)
    static = rows("vtest-static.csv")
    ids, pairs = collections.defaultdict(set), collections.Counter()
    sure = counted = matched = two = 0
    covered, within = collections.Counter(), collections.Counter()
    for frame, people in sorted(frames.items()):
        path = pathlib.Path(folder, f"{frame:05}.png")
        if not path.exists():
            raise SystemExit(f"{path} is not there: `maskd segment vtest.avi --out {folder}` writes it")
        labels = np.array(Image.open(path))
        if labels.shape != (576, 768):
            raise SystemExit(f"{path} is not an indexed picture of 768x576 pixels")
        found = instances(labels)
        matches = match(people, found)
        of = {name: people[i] for i, name in matches}
        for name, (mask, _) in found.items():
            if name in of:
                counted += of[name]["sure"]
            else:
                counted += not any(not p["sure"] and inside(mask, p) >= 0.5 * mask.sum() for p in people)
        for name, person in of.items():
            if person["sure"]:
                matched += 1
                ids[person[who]].add(name)
                pairs[person[who], name] += 1
        sure += sum(person["sure"] for person in people)
        two += over_two(people, found)
        for thing in static:
            over, lies = taken(thing, people, found)
            covered[thing["name"]] += over
            within[thing["name"]] += lies
    everyone = sorted({row[who] for people in frames.values() for row in people if row["sure"]})
    names = sorted({name for _, name in pairs})
    table = np.array([[pairs[person, name] for name in names] for person in everyone]).reshape(len(everyone), len(names))
    kept = table[linear_sum_assignment(-table)].sum()
    things = {t["name"]: (covered[t["name"]], within[t["name"]]) for t in static}
    return {
        "judged_frames": len(frames), "sure_boxes": sure, "instances": int(counted),
        "ids_a_person": float(np.mean([len(found) for found in ids.values()])) if ids else None,
        "ids_of": {person: sorted(ids[person]) for person in everyone},
        "never_matched": [person for person in everyone if person not in ids or not ids[person]],
        "two_people_share": two / len(frames),
        "standing_taken": {name: counts for name, counts in things.items() if counts[0] > 5 or counts[1]},
        "recall": matched / sure, "precision": matched / max(1, counted), "idf1": float(2 * kept / (sure + counted)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masks")
    parser.add_argument("--persons", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    got = score(args.masks, "person" if args.persons else "id")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(got, indent=1) + "\n")
    ids = got["ids_a_person"]
    mean = "-" if ids is None else f"{ids:.2f}"
    print(f"ids a person  {mean}  (bar 1.3; never matched: {got['never_matched'] or 'none'})")
    print(f"two people    {100 * got['two_people_share']:.1f} % of {got['judged_frames']} judged frames  (bar 2 %)")
    taken_things = ", ".join(f"{name} ({a} frames over, {b} within)" for name, (a, b) in got["standing_taken"].items())
    print(f"standing      {len(got['standing_taken'])}  (bar 0)  {taken_things}")
    print(f"recall        {100 * got['recall']:.1f} %  of {got['sure_boxes']} boxes, precision {100 * got['precision']:.1f} %"
          f" of {got['instances']} instances, at IoU {LEAST_IOU}")
    print(f"IDF1          {100 * got['idf1']:.1f} %")


if __name__ == "__main__":
    main()
