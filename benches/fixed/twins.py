"""Disturbed twins of fixed cameras: the same things move, the picture has one more trouble.

    twins.py --root ROOT --out OUT [--seed 0] [--only DISTURBANCE ...]

ROOT/SEQ/{frames,truth} as in ../shared/data/fixed; writes OUT/SEQ-DISTURBANCE/{frames,truth} with the same numbers.
Scores of a twin beside those of its sequence tell what the disturbance costs. The same for the same seed, but for
`bitrate`, which is as x264 has it. Wants numpy, opencv-python-headless, and for `bitrate` gst-launch-1.0 with x264enc.

clock    a burnt-in clock with date, seconds and a counter of frames, in the corner where least moves; what moves under
         it is not judged
gamma    a slow ramp of gamma 1.0 -> 0.7 -> 1.2 over the clip, and 10 % more exposure from three fifths on
night    a third of the light, then Gaussian noise of sigma 8, and the whole picture's light 2 % (sigma) off in each frame
bitrate  H.264 at 200 kbit/s, a key frame every 50, and back: x264enc of GStreamer, `veryfast`, decoded by OpenCV's FFmpeg
jitter   the whole picture shifted by a random walk within 2 pixels either way, not by whole pixels, its border repeated;
         truth goes with it
waving   a textured patch where little moves sways by up to 3 pixels, as a tree does; what moves through it is not judged
"""

import argparse
import datetime
import pathlib
import subprocess
import tempfile
import zlib

import cv2
import numpy as np

import scenes


def moving_share(truths):
    return np.mean([truth == scenes.MOVING for truth in truths], axis=0)


def clock(frames, truths, _rng):
    height, width = truths[0].shape
    size = height / 600
    (w, h), below = cv2.getTextSize("2026-11-29 23:59:59 0000", cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    share = moving_share(truths)
    corners = [(x, y) for y in (4, height - h - below - 4) for x in (4, width - w - 4)]
    x, y = min(corners, key=lambda c: share[c[1] : c[1] + h + below, c[0] : c[0] + w].sum())
    under = np.s_[max(0, y - 2) : y + h + below + 2, max(0, x - 2) : x + w + 2]
    for index, (frame, truth) in enumerate(zip(frames, truths)):
        frame, truth = frame.copy(), truth.copy()
        time = datetime.datetime(2026, 11, 29, 8, 59, 50) + datetime.timedelta(seconds=index // scenes.FPS)
        text = f"{time} {index:04}"
        for color, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(frame, text, (x, y + h), cv2.FONT_HERSHEY_SIMPLEX, size, color, thick, cv2.LINE_AA)
        truth[under][truth[under] == scenes.MOVING] = scenes.UNKNOWN
        yield frame, truth


def gamma(frames, truths, _rng):
    for index, (frame, truth) in enumerate(zip(frames, truths)):
        share = index / max(1, len(frames) - 1)
        exponent = np.interp(share, (0, 0.5, 1), (1.0, 0.7, 1.2))
        light = 1.1 if share >= 0.6 else 1.0
        table = (255 * light * (np.arange(256) / 255) ** exponent).clip(0, 255).round().astype(np.uint8)
        yield table[frame], truth


def night(frames, truths, rng):
    for frame, truth in zip(frames, truths):
        dark = frame * (0.33 * (1 + rng.normal(0, 0.02)))
        yield (dark + rng.normal(0, 8, frame.shape)).clip(0, 255).round().astype(np.uint8), truth


def bitrate(frames, truths, _rng):
    height, width = truths[0].shape
    with tempfile.TemporaryDirectory() as folder:
        video = pathlib.Path(folder, "video.mkv")
        encode = (f"fdsrc fd=0 ! rawvideoparse format=bgr width={width} height={height} framerate={scenes.FPS}/1"
                  " ! videoconvert ! video/x-raw,format=I420 ! x264enc bitrate=200 key-int-max=50 speed-preset=veryfast ! h264parse"
                  f" ! matroskamux ! filesink location={video}")
        raw = b"".join(frame.tobytes() for frame in frames)
        subprocess.run(["gst-launch-1.0", "-q", *encode.split()], input=raw, check=True)
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
        for truth in truths:
            got, frame = capture.read()
            if not got:
                raise SystemExit(f"{video}: fewer frames came back than went in")
            yield frame, truth


def jitter(frames, truths, rng):
    shift = np.zeros(2)
    for frame, truth in zip(frames, truths):
        shift = (shift + rng.normal(0, 0.4, 2)).clip(-2, 2)
        matrix, size = np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), truth.shape[::-1]
        yield (cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
               cv2.warpAffine(truth, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE))


def waving(frames, truths, _rng):
    height, width = truths[0].shape
    h, w = height // 3, width // 4
    texture = np.abs(cv2.Laplacian(cv2.cvtColor(frames[0], cv2.COLOR_BGR2GRAY), cv2.CV_32F)).clip(0, 60)
    worth = cv2.blur(texture, (9, 9)) - 3000 * moving_share(truths)
    places = [(y, x) for y in range(0, height - h, 8) for x in range(0, width - w, 8)]
    y, x = max(places, key=lambda p: worth[p[0] : p[0] + h, p[1] : p[1] + w].mean())
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    # The sway fades out towards the patch's border, so that no seam shows.
    fade = np.minimum.reduce([rows - y, y + h - 1 - rows, columns - x, x + w - 1 - columns]).clip(0, 10) / 10
    for index, (frame, truth) in enumerate(zip(frames, truths)):
        phase = 2 * np.pi * (index / 22 + rows / 40)
        sway = fade * (3 * np.sin(phase) + 0.8 * np.sin(2.7 * phase + columns / 9))
        moved = cv2.remap(frame, (columns + sway).astype(np.float32), rows + 0.3 * sway.astype(np.float32),
                          cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        truth = truth.copy()
        truth[(fade > 0) & (truth == scenes.MOVING)] = scenes.UNKNOWN
        yield moved, truth


DISTURBANCES = (clock, gamma, night, bitrate, jitter, waving)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[each.__name__ for each in DISTURBANCES])
    args = parser.parse_args()
    out, finish = scenes.complete(args.out)
    for folder in sorted(path.parent for path in pathlib.Path(args.root).glob("*/frames")):
        frames, truths, first = scenes.load(args.root, folder.name)
        for disturb in DISTURBANCES:
            if args.only and disturb.__name__ not in args.only:
                continue
            name = f"{folder.name}-{disturb.__name__}"
            rng = np.random.default_rng([args.seed, zlib.crc32(name.encode())])
            for index, (frame, truth) in enumerate(disturb(frames, truths, rng)):
                scenes.write(out / name, first + index, "frames", frame)
                scenes.write(out / name, first + index, "truth", truth)
            print(f"{name}: {len(frames)} frames", flush=True)
    finish()


if __name__ == "__main__":
    main()
