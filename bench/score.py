#!/usr/bin/env python3
"""Caption scores: `m6 score caption` beside pycocoevalcap (Bleu, Rouge, Cider), on the same sentences.

    python3 -m venv .venv && .venv/bin/pip install pycocoevalcap
    cargo build --release
    .venv/bin/python bench/score.py --shared ../shared --n 100000 --rounds 2

First the differences, of every sentence and of each set, on the three systems of `shared/data/caption-metrics` (real captions, characters
joined by spaces); there the scores of the package are also those that lie in the set. Then the time: the same items repeated up to `--n`, from
the second round of them on with some characters of every sentence replaced by others of the set, so that n-grams do not merely repeat. m6 and
the package take turns. m6 is timed as a process from start to end, reading included; the package only while it scores, the dictionaries it
takes already made, one process (it has no other). Beside the time on the clock stands the processor's, of all threads: the one to look at on a
machine that has other work. Exits with 1 when a score differs by more than 1e-6.
"""
import argparse, contextlib, io, json, os, random, resource, subprocess, sys, tempfile, time

TOLERANCE = 1e-6
NAMES = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]


def read_cases(shared):
    path = os.path.join(shared, "data", "caption-metrics", "cases.jsonl")
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def repeated(cases, n, seed=0):
    """Rows of (references, candidate), `n` of them."""
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


def written(rows, folder):
    references, candidates = os.path.join(folder, "references.jsonl"), os.path.join(folder, "candidates.jsonl")
    with open(references, "w", encoding="utf-8") as r, open(candidates, "w", encoding="utf-8") as c:
        for i, (refs, candidate) in enumerate(rows):
            r.write(json.dumps({"id": str(i), "captions": refs}, ensure_ascii=False) + "\n")
            c.write(json.dumps({"id": str(i), "text": candidate}, ensure_ascii=False) + "\n")
    return ["--references", references, "--candidates", candidates, "--segment", "none"]


def ours(binary, files, threads, *more):
    command = [binary, "score", "caption", *files, *more]
    if threads:
        command += ["--threads", str(threads)]
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(command, check=True, capture_output=True).stdout
    seconds, total = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = total.ru_utime - used.ru_utime + total.ru_stime - used.ru_stime
    return (seconds, processor), [flat(json.loads(line)) for line in out.splitlines()]


def flat(row):
    return row["bleu"] + [row["rouge_l"], row["cider"]]


def theirs(rows):
    """Seconds on the clock and of the processor, the scores of the set, and those of every sentence."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    references = {str(i): refs for i, (refs, _) in enumerate(rows)}
    candidates = {str(i): [candidate] for i, (_, candidate) in enumerate(rows)}
    start, used = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, bleus = Bleu(4).compute_score(references, candidates)
        rouge, rouges = Rouge().compute_score(references, candidates)
        cider, ciders = Cider().compute_score(references, candidates)
    seconds = time.perf_counter() - start, time.process_time() - used
    return seconds, list(bleu) + [float(rouge), float(cider)], [list(map(float, item)) for item in zip(*bleus, rouges, ciders)]


def differences(binary, shared, cases):
    """Largest differences from the package and from what lies in the set."""
    with open(os.path.join(shared, "data", "caption-metrics", "corpus-scores.json"), encoding="utf-8") as file:
        stored = json.load(file)
    print("| system | | " + " | ".join(NAMES) + " |\n|---|---|" + "---|" * len(NAMES))
    largest = 0.0
    for system in sorted({case["system"] for case in cases}):
        rows = [(case["references"], case["hypothesis"]) for case in cases if case["system"] == system]
        with tempfile.TemporaryDirectory() as folder:
            files = written(rows, folder)
            _, [mine] = ours(binary, files, 0, "--json")
            _, items = ours(binary, files, 0, "--per-item")
        _, peer, peer_items = theirs(rows)
        expected = stored[system]["BLEU"] + [stored[system]["ROUGE_L"], stored[system]["CIDEr"]]
        of_items = [max(abs(a[k] - b[k]) for a, b in zip(items, peer_items)) for k in range(len(NAMES))]
        apart = {
            "m6": mine,
            "from the package": [abs(a - b) for a, b in zip(mine, peer)],
            "from the stored scores": [abs(a - b) for a, b in zip(mine, expected)],
            "largest of a sentence": of_items,
        }
        for what, values in apart.items():
            form = "{:.6f}" if what == "m6" else "{:.1e}"
            print(f"| {system} ({len(rows)}) | {what} | " + " | ".join(form.format(v) for v in values) + " |")
            largest = max([largest] + (values if what != "m6" else []))
    return largest


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--m6", default="target/release/m6")
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    cases = read_cases(args.shared)
    largest = differences(args.m6, args.shared, cases)
    rows = repeated(cases, args.n)
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        files = written(rows, folder)
        for _ in range(args.rounds):
            own, [mine] = ours(args.m6, files, args.threads, "--json")
            others, peer, _ = theirs(rows)
            turns.append((own, others))
            print(f"turn: m6 {own[0]:.2f} s, pycocoevalcap {others[0]:.2f} s", file=sys.stderr)
    print("\n| score | m6 | pycocoevalcap | difference |\n|---|---|---|---|")
    for name, a, b in zip(NAMES, mine, peer):
        largest = max(largest, abs(a - b))
        print(f"| {name} | {a:.8f} | {b:.8f} | {abs(a - b):.1e} |")
    print(f"\n{args.n} items, {args.rounds} turns:")
    for k, kind in enumerate(("on the clock", "of the processor")):
        own, other = min(a[k] for a, _ in turns), min(b[k] for _, b in turns)
        worst = min(b[k] / a[k] for a, b in turns)
        print(f"best seconds {kind}: m6 {own:.2f}, pycocoevalcap {other:.2f}, {other / own:.1f} times faster (in the worst turn {worst:.1f})")
    print(f"largest difference: {largest:.1e}")
    sys.exit(largest > TOLERANCE)


if __name__ == "__main__":
    main()
