#!/usr/bin/env python3
"""m6 beside its peers in one interleaved run: training step, convolution stack, one-token decode, layers of experts, tokenizer.

    python3 -m venv .venv && .venv/bin/pip install -r bench/requirements.txt
    cargo build --release
    .venv/bin/python bench/compare.py --rounds 4 [--poems POEMS.jsonl --vocab VOCAB.txt]

Candidates take turns, the order turns round every other round, the first iteration of each process is dropped (8 in decode).
PyTorch runs with its allocator tuned as ours is: freed blocks are kept and huge pages are used. Two threads each.
Prints a table and writes bench/last.json.
"""
import argparse, json, os, statistics, subprocess, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--rounds", type=int, default=4)
parser.add_argument("--weights", default="target/bench-weights")
parser.add_argument("--only", default="train,conv,decode,moe,tokenizer")
parser.add_argument("--poems", help="a JSONL or text file to tokenize")
parser.add_argument("--vocab", help="vocab.txt for it")
args = parser.parse_args()
HERE = os.path.dirname(os.path.abspath(__file__))
ITERS = {"train": 4, "conv": 6, "decode": 60, "moe": 6}
DROP = {"train": 1, "conv": 1, "decode": 8, "moe": 1}
# Experts and those of a token.
LAYERS = [(8, 1), (8, 2), (64, 1)]
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1099511627776:glibc.malloc.trim_threshold=1099511627776"
                           ":glibc.malloc.top_pad=268435456"}


def run(command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def candidates(bench):
    if bench.startswith("moe"):
        # The better of the two formulations is the peer.
        torch = [sys.executable, f"{HERE}/peers/torch_workloads.py"]
        _, experts, k = bench.split("-")
        ours = [args.bin, "bench", "moe", "--experts", experts, "--top-k", k, "--weights", args.weights, "--iters", str(ITERS["moe"])]
        kinds = [(f"pytorch, {kind}", torch + [f"{bench}-{kind}", args.weights, str(ITERS["moe"])], TUNED) for kind in ("padded", "sorted")]
        return kinds + [("m6", ours + ["--threads", "2", "--json"], None)]
    torch = [sys.executable, f"{HERE}/peers/torch_workloads.py", bench, args.weights, str(ITERS[bench])]
    ours = [args.bin, "bench", bench, "--weights", args.weights, "--iters", str(ITERS[bench]), "--threads", "2", "--json"]
    return [("pytorch", torch, TUNED), ("m6", ours, None)]


def interleaved(bench):
    table = {}
    for r in range(args.rounds):
        order = candidates(bench)
        for name, command, env in (order if r % 2 == 0 else order[::-1]):
            row = run(command, env)
            at = table.setdefault(name, {"ms": [], "rss_mb": 0, "loss": row["loss"]})
            at["ms"] += row["ms"][DROP[bench.split("-")[0]]:]
            at["rss_mb"] = max(at["rss_mb"], row["rss_mb"])
    return table


def show(bench, table):
    peers = [row for name, row in table.items() if name.startswith("pytorch")]
    peer = min(peers, key=lambda row: statistics.median(row["ms"]))
    for name, row in table.items():
        median, best = statistics.median(row["ms"]), min(row["ms"])
        row.update(median_ms=median, best_ms=best, ratio=median / statistics.median(peer["ms"]),
                   best_ratio=best / min(peer["ms"]), memory_ratio=row["rss_mb"] / peer["rss_mb"])
        print(f"{bench:8} {name:15} median {median:8.1f} ms  best {best:8.1f} ms  n {len(row['ms']):3}  ratio {row['ratio']:.2f} "
              f"(best {row['best_ratio']:.2f})  peak {row['rss_mb']:6.0f} MB ({row['memory_ratio']:.2f})  loss {row['loss'][:3]}", flush=True)


def tokenizer():
    from tokenizers import BertWordPieceTokenizer
    peer = BertWordPieceTokenizer(args.vocab, lowercase=True)
    lines = open(args.poems, encoding="utf-8").read().splitlines()
    n_bytes = os.path.getsize(args.poems)
    rates = {"tokenizers, one thread": [], "tokenizers, batch": [], "m6, one thread": [], "m6, two threads": []}
    ours = lambda threads: [args.bin, "bench", "tokenizer", "--vocab", args.vocab, "--text", args.poems, "--threads", str(threads), "--json"]
    for _ in range(args.rounds):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        start = time.perf_counter()
        for line in lines:
            peer.encode(line)
        rates["tokenizers, one thread"].append(n_bytes / (time.perf_counter() - start) / 1e6)
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        start = time.perf_counter()
        peer.encode_batch(lines)
        rates["tokenizers, batch"].append(n_bytes / (time.perf_counter() - start) / 1e6)
        rates["m6, one thread"].append(run(ours(1))["mb_per_s"])
        rates["m6, two threads"].append(run(ours(2))["mb_per_s"])
    for name, values in rates.items():
        print(f"tokenizer {name:24} median {statistics.median(values):7.1f} MB/s  best {max(values):7.1f} MB/s", flush=True)
    return rates


if not os.path.exists(f"{args.weights}/moe64.safetensors"):
    subprocess.run([sys.executable, f"{HERE}/peers/make_weights.py", args.weights], check=True)
result = {}
wanted = [f"moe-{e}-{k}" for e, k in LAYERS] if "moe" in args.only.split(",") else []
for bench in [name for name in args.only.split(",") if name != "moe"] + wanted:
    if bench == "tokenizer":
        if args.poems and args.vocab:
            result[bench] = tokenizer()
    else:
        result[bench] = interleaved(bench)
        show(bench, result[bench])
with open(f"{HERE}/last.json", "w") as out:
    json.dump(result, out, indent=1)
