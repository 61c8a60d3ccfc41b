#!/usr/bin/env python3
"""m6 beside its peers in one interleaved run: an update of a VQGAN, and drawing.

    git clone https://github.com/CompVis/taming-transformers TAMING && git clone https://github.com/FoundationVision/LlamaGen LLAMAGEN
    python3 -m venv .venv && .venv/bin/pip install -r bench/requirements.txt && cargo build --release
    .venv/bin/python bench/drawing.py vqgan --taming TAMING
    .venv/bin/python bench/drawing.py draw --taming TAMING --llamagen LLAMAGEN

Two threads each; candidates take turns and the order turns round every other round; the first iteration of each process is dropped. PyTorch's
allocator is tuned as ours is (freed blocks are kept, huge pages), and it runs twice: its threads spin while they wait (its default, best on a quiet
machine) and sleep (OMP_WAIT_POLICY=passive, best beside other work). The ratio is to the faster of the two. Prints a table and writes
bench/last-WHICH.json.
"""
import argparse, itertools, json, os, re, statistics, subprocess, sys

parser = argparse.ArgumentParser()
parser.add_argument("which", choices=["vqgan", "draw"])
parser.add_argument("--taming", required=True, help="checkout of CompVis/taming-transformers")
parser.add_argument("--llamagen", help="checkout of FoundationVision/LlamaGen, for draw")
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--rounds", type=int, default=2)
parser.add_argument("--repeats", type=int, default=3, help="whole runs, for the spread of the ratios")
parser.add_argument("--weights", default="target/bench-vqgan")
parser.add_argument("--waits", default="spinning,sleeping", help="how PyTorch's threads wait; on a busy machine spinning is ten times slower")
parser.add_argument("--only", default="", help="cases whose name without blanks has this expression in it: 64codes,batch1$")
args = parser.parse_args()
if args.which == "draw" and not args.llamagen:
    parser.error("draw needs --llamagen")
HERE = os.path.dirname(os.path.abspath(__file__))
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1099511627776:glibc.malloc.trim_threshold=1099511627776"
                           ":glibc.malloc.top_pad=268435456"}
BATCH = 16
MODELS = {"8x512": (8, 512, 8), "6x192": (6, 192, 6)}
WORDS, TOP_K = 16, 100


def run(command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def cases():
    """Name, command of the peer, command of ours."""
    tail = ["--threads", "2", "--json"]
    if args.which == "vqgan":
        for adversary in ([], ["--adversary"]):
            peer = [f"{HERE}/peers/taming_vqgan.py", args.taming, args.weights, "4", str(BATCH), *adversary]
            ours = ["bench", "vqgan", "--weights", args.weights, "--batch", str(BATCH), "--iters", "4", *adversary, *tail]
            yield "after disc_start" if adversary else "before disc_start", peer, ours
        return
    for (model, size), codes, batch, guidance in itertools.product(MODELS.items(), (64, 256), (1, BATCH), (1.0, 3.0)):
        iters = 5 if batch == 1 and codes == 64 else 3
        layers, width, heads = map(str, size)
        peer = [f"{HERE}/peers/llamagen_draw.py", args.llamagen, args.taming, str(iters), str(codes), str(batch), str(guidance), layers, width, heads,
                str(WORDS), str(TOP_K)]
        ours = ["bench", "draw", "--codes", str(codes), "--batch", str(batch), "--guidance", str(guidance), "--layers", layers, "--width", width,
                "--heads", heads, "--words", str(WORDS), "--top-k", str(TOP_K), "--iters", str(iters), *tail]
        yield f"{model}, {codes} codes, batch {batch}{', guided' if guidance != 1 else ''}", peer, ours


def interleaved(peer, ours):
    policy = {"spinning": {}, "sleeping": {"OMP_WAIT_POLICY": "passive"}}
    candidates = [(f"pytorch, {name}", [sys.executable, *peer], {**TUNED, **policy[name]}) for name in args.waits.split(",")]
    candidates.append(("m6", [args.bin, *ours], None))
    table = {}
    for r in range(args.rounds):
        for name, command, env in (candidates if r % 2 == 0 else candidates[::-1]):
            row = run(command, env)
            at = table.setdefault(name, {"ms": [], "decode_ms": [], "rss_mb": 0, "params": row["params"], "loss": row.get("loss", [])})
            at["ms"] += row["ms"][1:]
            at["decode_ms"] += row.get("decode_ms", [0.0])[1:]
            at["rss_mb"] = max(at["rss_mb"], row["rss_mb"])
    return table


def ratios(table, key):
    """Ours to the faster peer, by the median and by the best."""
    peers = [row[key] for name, row in table.items() if name != "m6"]
    mine = table["m6"][key]
    return [of(mine) / min(of(peer) for peer in peers) for of in (statistics.median, min)]


if args.which == "vqgan":
    subprocess.run([sys.executable, f"{HERE}/peers/taming_vqgan.py", args.taming, args.weights, "0", str(BATCH), "--write"], check=True, capture_output=True)
result = {}
for name, peer, ours in cases():
    if not re.search(args.only, name.replace(" ", "")):
        continue
    tables = [interleaved(peer, ours) for _ in range(args.repeats)]
    result[name] = tables
    print(f"\n{name}; load {os.getloadavg()[0]:.1f}")
    for candidate in tables[0]:
        ms = [x for table in tables for x in table[candidate]["ms"]]
        decode = [x for table in tables for x in table[candidate]["decode_ms"]]
        row = tables[0][candidate]
        shown = f", VQGAN decoder {statistics.median(decode):.1f} ({min(decode):.1f})" if any(decode) else f", loss {row['loss']}"
        print(f"  {candidate:18} median {statistics.median(ms):8.1f} ms  best {min(ms):8.1f}  n {len(ms):2}{shown}  {row['params'] / 1e6:.2f} M, "
              f"peak {row['rss_mb']:.0f} MB")
    for key in ("ms", "decode_ms"):
        if any(tables[0]["m6"][key]):
            each = [ratios(table, key) for table in tables]
            print(f"  ratio of {'medians' if key == 'ms' else 'the decoders'} {' '.join(f'{m:.2f}' for m, _ in each)}, of bests "
                  f"{' '.join(f'{b:.2f}' for _, b in each)}", flush=True)
    with open(f"{HERE}/last-{args.which}.json", "w") as out:
        json.dump(result, out, indent=1)
