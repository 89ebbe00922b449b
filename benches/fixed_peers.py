"""Background subtraction as OpenCV has it, on the sets that 'maskd eval fixed' reads, judged by that very command.

    fixed_peers.py --root ROOT --out DIR [--sequences A,B] [--part second] [--every N] [--peers KNN,MOG2] [--maskd PATH]

Wants numpy and opencv-python-headless (pip install numpy opencv-python-headless), and maskd on the PATH or at --maskd.
Each peer has OpenCV's own settings with shadows told apart, and shadows count as scene; its mask goes through a 5 x 5
median, and what hangs together (8-connected) is an instance. DIR/PEER/SEQUENCE/FRAME.png are grey PNGs of 16 bits; beside
them stand maskd's table and report, which also go to standard output. One line tells how long a peer took for a frame.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import cv2
import numpy

PICTURES = {".jpg", ".jpeg", ".png"}
MOVES = 200  # above the value of a shadow, 127
PEERS = {
    "KNN": lambda: cv2.createBackgroundSubtractorKNN(detectShadows=True),
    "MOG2": lambda: cv2.createBackgroundSubtractorMOG2(detectShadows=True),
}


def frames_of(folder):
    """The folder of a sequence's frames, in either layout; None where there is no sequence."""
    if (folder / "frames").is_dir():
        return folder / "frames"
    if (folder / "input").is_dir() and (folder / "groundtruth").is_dir():
        return folder / "input"
    return None


def find(root, wanted):
    """Pairs of a sequence's name and the folder of its frames."""
    below = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {}
    for folder in below:
        inner = [folder] if frames_of(folder) else sorted(path for path in folder.iterdir() if path.is_dir())
        for sequence in inner:
            frames = frames_of(sequence)
            # CDnet alone has categories.
            if frames and (sequence == folder or frames.name == "input"):
                found[str(sequence.relative_to(root))] = frames
    if wanted:
        found = {name: frames for name, frames in found.items() if wanted & {name, *name.split("/")}}
    if not found:
        sys.exit(f"{root}: no such sequence is in it")
    return found


def segment(peer, frames, every, out):
    """Writes the masks of one sequence; seconds that the peer itself took, and how many frames it saw."""
    out.mkdir(parents=True, exist_ok=True)
    model, seconds = PEERS[peer](), 0.0
    seen = sorted(path for path in frames.iterdir() if path.suffix.lower() in PICTURES)[::every]
    for path in seen:
        picture = cv2.imread(str(path))
        if picture is None:
            sys.exit(f"{path}: it cannot be read")
        start = time.perf_counter()
        moving = (model.apply(picture) > MOVES).astype(numpy.uint8)
        moving = cv2.medianBlur(255 * moving, 5)
        _, labels = cv2.connectedComponents(moving, connectivity=8)
        seconds += time.perf_counter() - start
        if not cv2.imwrite(str(out / f"{path.stem}.png"), labels.astype(numpy.uint16)):
            sys.exit(f"{out / path.stem}.png: it cannot be written")
    return seconds, len(seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--sequences", default="", help="only these, separated by commas")
    parser.add_argument("--part", default="all", choices=["all", "first", "second"])
    parser.add_argument("--every", type=int, default=1, help="only every Nth frame")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of KNN and MOG2")
    parser.add_argument("--maskd", default="maskd", help="the program that judges")
    args = parser.parse_args()
    peers = args.peers.split(",")
    if unknown := set(peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    root, out = args.root.resolve(), args.out.resolve()
    if out.is_relative_to(root):
        parser.error(f"{args.out} lies within the set: give another --out")
    sequences = find(root, set(filter(None, args.sequences.split(","))))
    for peer in peers:
        times = [segment(peer, frames, args.every, out / peer / name) for name, frames in sequences.items()]
        seconds, frames = map(sum, zip(*times))
        print(f"{peer}: {1e3 * seconds / max(1, frames):.2f} ms a frame, OpenCV {cv2.__version__}", flush=True)
        words = ["eval", "fixed", "--root", root, "--results", out / peer, "--sequences", ",".join(sequences)]
        words += ["--part", args.part, "--every", str(args.every)]
        subprocess.run([args.maskd, *words], check=True)


if __name__ == "__main__":
    main()
