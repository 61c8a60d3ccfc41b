#!/usr/bin/env python3
"""Caption scores: `m6 score caption` beside pycocoevalcap (Bleu, Rouge, Cider), on the same sentences.

    python3 -m venv .venv && .venv/bin/pip install pycocoevalcap
    cargo build --release
    .venv/bin/python bench/score.py --shared ../shared --n 100000

The items are those of `shared/data/caption-metrics` (real captions, characters joined by spaces), repeated up to `--n`; from the second
round on, some characters of every sentence are replaced by others of the set, so that n-grams do not merely repeat. m6 is timed as a process
from start to end, reading included; the package only while it scores, the dictionaries it takes already made, one process (it has no other).
Exits with 1 when a score differs by more than 1e-6.
"""
import argparse, contextlib, io, json, os, random, subprocess, sys, tempfile, time

TOLERANCE = 1e-6


def items(shared, n, seed=0):
    """Rows of (references, candidate), `n` of them."""
    path = os.path.join(shared, "data", "caption-metrics", "cases.jsonl")
    with open(path, encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    letters = [c for case in cases for c in case["hypothesis"].split()]
    draw = random.Random(seed)

    def perturbed(sentence, first):
        if first:
            return sentence
        return " ".join(draw.choice(letters) if draw.random() < 0.1 else c for c in sentence.split())

    made = []
    for i in range(n):
        case, first = cases[i % len(cases)], i < len(cases)
        made.append(([perturbed(r, first) for r in case["references"]], perturbed(case["hypothesis"], first)))
    return made


def ours(binary, rows, folder, threads):
    references, candidates = os.path.join(folder, "references.jsonl"), os.path.join(folder, "candidates.jsonl")
    with open(references, "w", encoding="utf-8") as r, open(candidates, "w", encoding="utf-8") as c:
        for i, (refs, candidate) in enumerate(rows):
            r.write(json.dumps({"id": str(i), "captions": refs}, ensure_ascii=False) + "\n")
            c.write(json.dumps({"id": str(i), "text": candidate}, ensure_ascii=False) + "\n")
    command = [binary, "score", "caption", "--references", references, "--candidates", candidates, "--segment", "none", "--json"]
    if threads:
        command += ["--threads", str(threads)]
    start = time.perf_counter()
    out = subprocess.run(command, check=True, capture_output=True).stdout
    seconds = time.perf_counter() - start
    row = json.loads(out)
    return seconds, row["bleu"] + [row["rouge_l"], row["cider"]]


def theirs(rows):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    references = {str(i): refs for i, (refs, _) in enumerate(rows)}
    candidates = {str(i): [candidate] for i, (_, candidate) in enumerate(rows)}
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, _ = Bleu(4).compute_score(references, candidates)
        rouge, _ = Rouge().compute_score(references, candidates)
        cider, _ = Cider().compute_score(references, candidates)
    return time.perf_counter() - start, list(bleu) + [float(rouge), float(cider)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--m6", default="target/release/m6")
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of m6; the median counts")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    rows = items(args.shared, args.n)
    with tempfile.TemporaryDirectory() as folder:
        runs = [ours(args.m6, rows, folder, args.threads) for _ in range(args.rounds)]
    seconds, mine = sorted(runs)[len(runs) // 2]
    peer_seconds, peer = theirs(rows)
    names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    print(f"| score | m6 | pycocoevalcap | difference |\n|---|---|---|---|")
    for name, a, b in zip(names, mine, peer):
        print(f"| {name} | {a:.8f} | {b:.8f} | {abs(a - b):.1e} |")
    print(f"\n{args.n} items: m6 {seconds:.2f} s, pycocoevalcap {peer_seconds:.2f} s, {peer_seconds / seconds:.1f} times faster")
    sys.exit(any(abs(a - b) > TOLERANCE for a, b in zip(mine, peer)))


if __name__ == "__main__":
    main()
