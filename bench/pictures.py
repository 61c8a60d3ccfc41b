#!/usr/bin/env python3
"""Decode, scale to 256 (shorter side), encode at quality 95 with 4:2:0: m6 beside img2dataset's resizer.

One thread each, the same pictures, in turns within one run; prints a line of JSON: rates, sizes, and how far our copies are from theirs
(PSNR in dB of the decoded pixels, where both have the same size). Needs img2dataset in the Python that runs it:

    python3 -m venv venv && venv/bin/pip install img2dataset
    cargo build --release -p m6-clean --example prepare_pictures
    venv/bin/python bench/pictures.py --tar ../shared/data/flickr8k-cn/train-original-size.tar \
        --bin target/release/examples/prepare_pictures
"""

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import tarfile
import tempfile
import time

import cv2
import numpy as np
from img2dataset.resizer import Resizer


def resizer_of_img2dataset():
    return Resizer(
        image_size=256,
        resize_mode="keep_ratio",
        resize_only_if_bigger=True,
        encode_quality=95,
        encode_format="jpg",
    )


def theirs(pictures, seconds):
    resizer = resizer_of_img2dataset()
    n, refused, n_bytes, start, cpu = 0, 0, 0, time.monotonic(), time.process_time()
    while time.monotonic() - start < seconds:
        for picture in pictures:
            encoded, *_, error = resizer(io.BytesIO(picture))
            n += 1
            if error:
                refused += 1
            else:
                n_bytes += len(encoded)
    spent, cpu = time.monotonic() - start, time.process_time() - cpu
    return {"pictures": n, "refused": refused, "seconds": spent, "cpu": cpu, "mean_bytes": n_bytes / max(1, n - refused)}


def ours(binary, folder, seconds, *more):
    def cpu():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = cpu()
    done = subprocess.run([binary, folder, str(seconds), *more], check=True, capture_output=True, text=True)
    return json.loads(done.stdout) | {"cpu": cpu() - before}


def psnr_of(pictures, folder):
    """PSNR of each of our copies against theirs; pictures whose sizes differ are counted apart."""
    resizer, values, n_other_size = resizer_of_img2dataset(), [], 0
    for at, picture in enumerate(pictures):
        encoded, *_, error = resizer(io.BytesIO(picture))
        path = os.path.join(folder, f"{at:06}.jpg")
        if error or not os.path.exists(path):
            continue
        theirs, ours = cv2.imdecode(np.frombuffer(encoded, np.uint8), 1), cv2.imread(path)
        if theirs.shape != ours.shape:
            n_other_size += 1
            continue
        mse = np.mean((theirs.astype(np.float64) - ours.astype(np.float64)) ** 2)
        values.append(10 * np.log10(255.0**2 / max(mse, 1e-9)))
    return values, n_other_size


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tar", required=True, help="a tar with .jpg members")
    parser.add_argument("--bin", required=True, help="the example prepare_pictures, built for release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tarfile.open(arguments.tar) as tar, tempfile.TemporaryDirectory() as folder:
        pictures = [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]
        for at, picture in enumerate(pictures):
            with open(os.path.join(folder, f"{at:06}.jpg"), "wb") as file:
                file.write(picture)
        runs = {"m6": [], "m6_look": [], "img2dataset": []}
        for _ in range(arguments.rounds):
            runs["m6"].append(ours(arguments.bin, folder, arguments.seconds))
            runs["img2dataset"].append(theirs(pictures, arguments.seconds))
            runs["m6_look"].append(ours(arguments.bin, folder, arguments.seconds, "look"))
        with tempfile.TemporaryDirectory() as copies:
            ours(arguments.bin, folder, 0, "write", copies)
            psnr, n_other_size = psnr_of(pictures, copies)
    rate = {name: statistics.median(run["pictures"] / run["seconds"] for run in of) for name, of in runs.items()}
    # On a busy machine the processor's time says more than the clock.
    per_cpu = {name: statistics.median(run["pictures"] / run["cpu"] for run in of) for name, of in runs.items()}
    size = {name: of[0]["mean_bytes"] for name, of in runs.items()}
    print(
        json.dumps(
            {
                "pictures": len(pictures),
                "images_per_s": {name: round(value, 1) for name, value in rate.items()},
                "images_per_cpu_s": {name: round(value, 1) for name, value in per_cpu.items()},
                "cpu_ratio": round(per_cpu["m6"] / per_cpu["img2dataset"], 3),
                "speed_ratio": round(rate["m6"] / rate["img2dataset"], 3),
                "mean_bytes": {name: round(value) for name, value in size.items()},
                "size_ratio": round(size["m6"] / size["img2dataset"], 4),
                "psnr_db": {"median": round(statistics.median(psnr), 1), "least": round(min(psnr), 1)} if psnr else None,
                "other_size": n_other_size,
                "refused": {name: of[0]["refused"] for name, of in runs.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
