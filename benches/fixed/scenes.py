"""What the generators here share: a fixed camera's frames and truth, its empty scene, what can be cut out of it.

A sequence is frames/NNNNN.jpg and truth/NNNNN.png (255 moving, 0 scene, all else not judged). Wants numpy and
opencv-python-headless.
"""

import dataclasses
import pathlib
import shutil

import cv2
import numpy as np

CAMERAS = ("CAVIAR1", "HallAndMonitor", "HighwayI", "HumanBody2")
FPS = 25
MOVING, UNKNOWN = 255, 170
SMALLEST = 600  # pixels of a cut-out: smaller ones are far away or parts
WINDOW = 30  # frames of a cut-out
RIGID = ("HighwayI",)
# Windows (first frame, x of the box in the middle) of all frames that look bad: a part of a person, or one who merges
# with something. With half of the frames windows may begin elsewhere.
LEFT_OUT = {"HallAndMonitor": {(118, 126), (133, 137), (193, 145)}, "HumanBody2": {(194, 164)}}


def load(root, camera, half=None):
    """Frames and truths of `camera`: all, or those of its first or second half, and the number of the first."""
    folder = pathlib.Path(root, camera)
    names = sorted(path.stem for path in (folder / "frames").glob("*.jpg"))
    if not names:
        raise SystemExit(f"{folder}/frames holds no .jpg: --root is the folder of the cameras")
    middle = len(names) // 2
    names = {None: names, "first": names[:middle], "second": names[middle:]}[half]
    frames = [cv2.imread(str(folder / "frames" / f"{name}.jpg")) for name in names]
    truths = [cv2.imread(str(folder / "truth" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in names]
    return frames, truths, int(names[0])


def dilate(mask, radius):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0


def smooth(values, radius):
    """Moving average along the first axis; ends repeat."""
    values = np.asarray(values, np.float64)
    padded = np.concatenate([values[:1].repeat(radius, 0), values, values[-1:].repeat(radius, 0)])
    return np.stack([padded[i : i + 2 * radius + 1].mean(0) for i in range(len(values))])


class Scene:
    """The scene without what moved: a plate, and the real noise of the frames upon it.

    The plate is the median of each pixel over the frames in which nothing moved there. The noise of a frame is what
    it differs from the plate by; where something moves, or a shadow or reflection does, that of another frame.
    """

    def __init__(self, frames, truths):
        self.frames = frames
        self.free = [~dilate(truth != 0, 3) for truth in truths]
        self.noises = {}
        self.plate = self._plate()

    def _plate(self):
        step = max(1, len(self.frames) // 120)
        frames, free = np.stack(self.frames[::step]), np.stack(self.free[::step])
        plate = np.empty(frames.shape[1:], np.uint8)
        for row in range(frames.shape[1]):
            values = np.where(free[:, row, :, None], frames[:, row].astype(np.int16), 999)
            count = free[:, row].sum(0)
            values.sort(axis=0)
            plate[row] = np.take_along_axis(values, (count // 2).clip(0, len(frames) - 1)[None, :, None], 0)[0]
            plate[row][count == 0] = 0
        never = (~free.any(0)).astype(np.uint8)
        return cv2.inpaint(plate, never, 5, cv2.INPAINT_TELEA) if never.any() else plate

    def _difference(self, index):
        difference = self.frames[index].astype(np.int16) - self.plate
        strong = np.abs(cv2.blur(difference.astype(np.float32), (5, 5))).max(2) > 14
        return difference, self.free[index] & ~dilate(strong, 2)

    def noise(self, index):
        """What a real frame differs from the plate by (int8), free of what moves."""
        if index not in self.noises:
            self.noises[index] = self._noise(index)
        return self.noises[index]

    def _noise(self, index):
        noise, known = self._difference(index)
        for step in (31, 67, 101, 137, 171):
            if known.all():
                break
            other, there = self._difference((index + step) % len(self.frames))
            fill = there & ~known
            noise[fill] = other[fill]
            known |= fill
        noise[~known] = 0
        return noise.clip(-127, 127).astype(np.int8)

    def frame(self, index):
        """The empty scene as real frame `index` would show it, and the noise in it; an index past the end turns back."""
        noise = self.noise(turning(index, len(self.frames)))
        return (self.plate.astype(np.int16) + noise).clip(0, 255).astype(np.uint8), noise


def turning(index, length):
    """0, 1, ... length - 1, length - 2, ... 0, 1, ..."""
    index %= max(1, 2 * length - 2)
    return index if index < length else 2 * length - 2 - index


@dataclasses.dataclass
class Cutout:
    """One thing over consecutive frames, each `(picture, mask)` a crop; `anchors` are its feet in the crops."""

    track: int
    first: int
    box: list  # x, y, width and height in the middle frame
    pictures: list
    masks: list
    anchors: np.ndarray
    feet: float  # the picture's row its feet are on
    cut: bool  # by the picture's lower border: it may not be raised

    @property
    def height(self):
        return float(np.median([mask.any(1).sum() for mask in self.masks]))

    def scaled(self, scale):
        """A smaller copy: as seen from farther away."""
        if scale == 1:
            return self
        size = lambda image: (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        shrink = lambda image: cv2.resize(image, size(image), interpolation=cv2.INTER_AREA)
        masks = [shrink(mask.astype(np.float32)) > 0.5 for mask in self.masks]
        pictures = [shrink(picture) for picture in self.pictures]
        return dataclasses.replace(self, pictures=pictures, masks=masks, anchors=self.anchors * scale)

    def mirrored(self):
        pictures, masks = [p[:, ::-1] for p in self.pictures], [m[:, ::-1] for m in self.masks]
        anchors = np.array([(mask.shape[1] - x, y) for mask, (x, y) in zip(masks, self.anchors)])
        return dataclasses.replace(self, pictures=pictures, masks=masks, anchors=anchors)


def lower_border(truths):
    """The row below which nothing moves: of some cameras the truth ends some rows above the picture's border."""
    rows = np.flatnonzero(np.any([(truth == MOVING).any(1) for truth in truths], axis=0))
    height = len(truths[0])
    return rows[-1] + 1 if len(rows) and rows[-1] >= height - 8 else height


def groups(truth, lower):
    """Isolated things of a frame: (mask, box, at the upper, left or right border, cut by the lower one).

    Parts up to 4 pixels apart are one thing.
    """
    width = truth.shape[1]
    moving = truth == MOVING
    _, labels = cv2.connectedComponents(dilate(moving, 2).astype(np.uint8), connectivity=8)
    labels[~moving] = 0
    found = []
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        if mask.sum() < 40:
            continue
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        found.append((mask, (x, y, w, h), x <= 1 or y <= 1 or x + w >= width - 1, y + h >= lower - 1))
    return found


def tracks(truths):
    """Groups linked from frame to frame by overlap, as lists of (frame, group).

    A track ends where things join or part. One that came of a joining or ends in a parting holds several things and is
    left out. What has less than a quarter of the other's pixels is a part that comes loose or a thing put down, no thing
    that joins or parts.
    """
    lower = lower_border(truths)
    done, live = [], []  # live: [track, it holds several]
    for index, truth in enumerate(truths):
        now = groups(truth, lower)
        last = [track[-1][1][0] for track, _ in live]
        shape = len(live), len(now)
        over = np.array([[(mask & group[0]).sum() > 20 for group in now] for mask in last], bool).reshape(shape)
        was = np.array([mask.sum() for mask in last]).reshape(-1, 1)
        is_now = np.array([group[0].sum() for group in now]).reshape(1, -1)
        after, before = over & (is_now >= 0.25 * was), over & (was >= 0.25 * is_now)
        follows = after & before & (after.sum(1, keepdims=True) == 1) & (before.sum(0, keepdims=True) == 1)
        following = []
        for i, (track, several) in enumerate(live):
            if follows[i].any():
                track.append((index, now[follows[i].argmax()]))
                following.append([track, several])
            elif not several and after[i].sum() < 2:
                done.append(track)
        for j, group in enumerate(now):
            if not follows[:, j].any():
                following.append([[(index, group)], before[:, j].sum() > 1])
        live = following
    return done + [track for track, several in live if not several]


def cutouts(frames, truths, offset, camera):
    """What can be cut out: of each track the parts, WINDOW frames each, in which a thing stays whole and about as large.

    Of cars, which are in sight for less than a second, one frame is taken of each track: where they are largest.
    """
    found = []
    for number, track in enumerate(tracks(truths)):
        whole = [(index, group) for index, group in track if not group[2]]
        if camera in RIGID:
            whole = [(index, group) for index, group in whole if not group[3] and group[0].sum() >= SMALLEST]
            if len(track) >= 8 and whole:
                found.append(cut(frames, [max(whole, key=lambda each: each[1][0].sum())], offset, number))
            continue
        for start in range(0, len(track) - WINDOW + 1, WINDOW // 2):
            window = track[start : start + WINDOW]
            areas = np.array([group[0].sum() for _, group in window])
            heights = np.array([group[1][3] for _, group in window])
            cut_off = [group[3] for _, group in window]
            if any(group[2] for _, group in window) or any(cut_off) != all(cut_off):
                continue
            jump = (np.abs(np.diff(areas)) / areas[:-1]).max()
            alike = areas.max() < 2 * areas.min() and heights.max() < 1.35 * heights.min() and jump < 0.3
            if alike and areas.min() >= SMALLEST:
                found.append(cut(frames, window, offset, number))
    return sorted((c for c in found if (c.first, c.box[0]) not in LEFT_OUT.get(camera, ())), key=lambda c: (c.first, c.box))


def cut(frames, window, offset, track):
    cut_off = window[0][1][3]
    feet = smooth([(x + w / 2, y + h) for _, (_, (x, y, w, h), _, _) in window], 4)
    if cut_off:
        feet[:, 1] = [y + h for _, (_, (_, y, _, h), _, _) in window]
    pictures, masks, anchors = [], [], []
    for (index, (mask, (x, y, w, h), _, _)), (fx, fy) in zip(window, feet):
        y0, x0 = max(0, y - 2), max(0, x - 2)
        part = np.s_[y0 : y + h + 2, x0 : x + w + 2]
        pictures.append(frames[index][part])
        masks.append(mask[part])
        anchors.append((fx - x0, fy - y0))
    box = [int(value) for value in window[len(window) // 2][1][1]]
    line = len(frames[0]) if cut_off else float(np.median(feet[:, 1]))
    return Cutout(track, offset + window[0][0], box, pictures, masks, np.array(anchors), line, cut_off)


def write(folder, name, kind, image, digits=5):
    """One picture of a set: frames as JPEG of quality 90, all else as PNG."""
    path = pathlib.Path(folder, kind, f"{name:0{digits}}.{'jpg' if kind == 'frames' else 'png'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90] if kind == "frames" else []):
        raise SystemExit(f"{path} cannot be written")


def complete(out):
    """A folder to write into that becomes `out` when all is written: `finish` renames it."""
    out = pathlib.Path(out)
    if out.exists():
        raise SystemExit(f"{out} is there already: name another folder, or remove it")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part, lambda: part.rename(out)
