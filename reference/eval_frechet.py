"""Writes crates/m6-eval/tests/fixtures/frechet.json: small feature sets with the Frechet distance that pytorch-fid 0.3.0 (scipy's
matrix root) gives them, and the precision, recall, density and coverage of the package prdc 0.2.
Run from the repository root: python reference/eval_frechet.py"""
import contextlib
import io
import json

import numpy as np
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance

rng = np.random.default_rng(20210301)


def rounded(x):
    return np.array([[float(f"{v:.5g}") for v in row] for row in x])


def normal(n, d, scale=1.0, shift=0.0):
    return rounded(rng.normal(size=(n, d)) * scale + shift)


def steep(n, d):
    """Deviations that fall from 1 to 1e-4, mixed, far from the origin: what features of a network look like."""
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * np.logspace(0, -4, d) @ turn + 3


def moments(x):
    return x.mean(axis=0), np.cov(x, rowvar=False)


same, other = normal(40, 10), normal(150, 6)
SETS = {
    "more vectors than dimensions": (normal(60, 12), normal(50, 12, 1.2, 0.3)),
    "fewer vectors than dimensions": (normal(15, 32), normal(22, 32, 1.3, 0.2)),
    "one set of full rank": (normal(90, 16), normal(9, 16)),
    "a constant dimension": (normal(30, 4) * [1, 1, 0, 1], normal(35, 4) * [1, 1, 0, 1]),
    "far apart": (normal(30, 8), normal(40, 8, 2.0, 25.0)),
    "falling deviations": (rounded(steep(50, 24)), rounded(steep(45, 24))),
    "equal sets": (same, same),
    "part of a set": (other, other[:140] + 0.01),
}

out = {}
for name, (real, drawn) in SETS.items():
    distance = calculate_frechet_distance(*moments(real), *moments(drawn))
    with contextlib.redirect_stdout(io.StringIO()):
        scores = {k: {m: float(v) for m, v in compute_prdc(real, drawn, k).items()} for k in (1, 3, 5)}
    out[name] = {"d": real.shape[1], "real": [v for row in real.tolist() for v in row],
                 "drawn": [v for row in drawn.tolist() for v in row], "frechet": float(distance), "prdc": scores}
    print(f"{name}: {distance:.9g} {scores[3]}")
with open("crates/m6-eval/tests/fixtures/frechet.json", "w", encoding="utf-8") as f:
    json.dump(out, f, separators=(",", ":"))
    f.write("\n")
