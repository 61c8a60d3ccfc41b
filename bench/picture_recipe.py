#!/usr/bin/env python3
"""Precision and recall of the rule on text in pictures (`m6-t2i`): titles of news written onto photographs and onto white, beside the same untouched.

Needs Pillow and a font with Chinese characters (Debian: apt install fonts-noto-cjk); pictures are made in a temporary folder and thrown away.
Prints a line of JSON for each kind of ground: recall (written pictures that are found), the share of untouched ones that are taken for written,
precision of the two taken together, and how much of the written area the boxes cover (median of found share by true share).

    cargo build --release -p m6-clean --example picture_recipe
    python3 bench/picture_recipe.py --bin target/release/examples/picture_recipe --photos flickr8k-cn/val-00000.tar --titles news/thucnews-titles.jsonl
"""

import argparse
import glob
import io
import json
import os
import random
import statistics
import subprocess
import tarfile
import tempfile

from PIL import Image, ImageDraw, ImageFont

# Share of a picture's area above which the recipe takes it for written.
MOST = 0.005


def photographs(path):
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".jpg"):
                yield Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")


def blanks(n, rng):
    for _ in range(n):
        yield Image.new("RGB", (rng.randint(200, 640), rng.randint(200, 640)), (255, 255, 255))


def write_on(image, titles, fonts, rng):
    """One to three lines of 4 to 18 characters, dark on light ground and light on dark; returns the written share of the area."""
    draw = ImageDraw.Draw(image)
    n_lines = rng.randint(1, 3)
    size = rng.randint(14, min(56, image.height // 6 + 14))
    step = int(1.4 * size)
    y = rng.randint(0, max(1, image.height - n_lines * step - 2))
    mean = image.crop((0, y, image.width, min(image.height, y + n_lines * step))).convert("L").resize((1, 1), Image.BOX).getpixel((0, 0))
    ink = rng.choice([(255, 255, 255), (255, 240, 60)] if mean < 128 else [(0, 0, 0), (160, 0, 0), (10, 10, 90)])
    font = ImageFont.truetype(rng.choice(fonts), size)
    area = 0
    for line in range(n_lines):
        title = rng.choice(titles)
        text = title[: min(len(title), rng.randint(4, 18), max(4, image.width // size - 1))]
        x = rng.randint(2, max(3, image.width - size * len(text)))
        draw.text((x, y + line * step), text, font=font, fill=ink)
        left, top, right, bottom = draw.textbbox((x, y + line * step), text, font=font)
        area += max(0, min(right, image.width) - left) * max(0, min(bottom, image.height) - top)
    return area / image.width / image.height


def shares(binary, folder):
    done = subprocess.run([binary, "--each", folder], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: row["recipe"]["text_share"] for row in rows}


def measure(binary, name, images, titles, fonts, rng):
    with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as written:
        truth = {}
        for at, image in enumerate(images):
            file = f"{at:05}.jpg"
            image.save(os.path.join(plain, file), quality=90)
            truth[file] = write_on(image, titles, fonts, rng)
            image.save(os.path.join(written, file), quality=90)
        before, after = shares(binary, plain), shares(binary, written)
    found = [file for file in truth if after[file] > MOST]
    wrong = [file for file in truth if before[file] > MOST]
    row = {
        "ground": name,
        "pictures": len(truth),
        "recall": round(len(found) / len(truth), 3),
        "untouched_taken": round(len(wrong) / len(truth), 3),
        "precision": round(len(found) / max(1, len(found) + len(wrong)), 3),
        "found_by_true_area": round(statistics.median(after[file] / truth[file] for file in found), 2) if found else None,
    }
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="the example picture_recipe, built for release")
    parser.add_argument("--photos", required=True, help="a tar with .jpg members")
    parser.add_argument("--titles", required=True, help='lines of JSON with a "title" or "text"')
    parser.add_argument("--fonts", default="/usr/share/fonts/opentype/noto/Noto*CJK-*.ttc")
    parser.add_argument("--blanks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    fonts = sorted(glob.glob(arguments.fonts))
    with open(arguments.titles, encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(5000), lines)]
    titles = [title for title in (row.get("title") or row.get("text") or "" for row in rows) if len(title) >= 4]
    if not fonts or not titles:
        raise SystemExit(f"no font matches {arguments.fonts}" if not fonts else f"no titles in {arguments.titles}")
    measure(arguments.bin, "photographs", photographs(arguments.photos), titles, fonts, rng)
    measure(arguments.bin, "white", blanks(arguments.blanks, rng), titles, fonts, rng)


if __name__ == "__main__":
    main()
