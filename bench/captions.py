#!/usr/bin/env python3
"""Captions a second by beam search: `m6 generate caption` beside Hugging Face transformers' `generate` on a PyTorch model of equal size.

    .venv/bin/pip install -r bench/requirements.txt
    .venv/bin/python bench/captions.py --bin target/release/m6 --model RUN --tar DATA/flickr8k-cn/val-00000.tar --rounds 4 --batches 6

RUN is a run or checkpoint of preset m6-tiny's kind (its patches are m6's `resnet`); the peer takes its sizes from the checkpoint's config.json.
Batches of 16 pictures, 5 beams, exactly 24 new words for each caption on both sides, two threads each.

Counted alike on both sides: from decoded pixels in memory, over the picture encoder (strided convolutions to 64 patches), the prefix of 65 positions
and the search, to the words. Not counted: start, loading, JPEG. m6 writes the captions of a batch when the batch is done, after it has decoded all
pictures, so that the time from one batch's last line to the next one's is that of a batch; the first batch, which has the loading before it, is
dropped, as is the peer's first iteration. m6 turns words into text in that time, the peer does not. Given `inputs_embeds`, `transformers` reads the
prefix once for every beam; given keys and values of the patches, it need not. Both are run, and the better one is the peer.

Candidates take turns, the order turns round every other round. PyTorch runs with its allocator tuned as in compare.py. Prints one JSON object last.
"""
import argparse, glob, json, os, statistics, subprocess, sys, tarfile, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1099511627776:glibc.malloc.trim_threshold=1099511627776"
                           ":glibc.malloc.top_pad=268435456"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release/m6")
    parser.add_argument("--model", required=True, help="run or checkpoint folder")
    parser.add_argument("--tar", required=True, help="pictures (WebDataset)")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batches", type=int, default=6, help="timed batches of each process")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def checkpoint_of(folder):
    """The newest checkpoint of a run, so that both sides have the same one."""
    found = sorted(path for path in glob.glob(f"{folder}/checkpoints/step-*") if os.path.exists(f"{path}/config.json"))
    return found[-1] if found else folder


def n_params(checkpoint):
    with open(f"{checkpoint}/model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
    return max(ends) // 4


def unpack(tar, folder, n):
    with tarfile.open(tar) as members:
        for member in members:
            if n and member.name.endswith(".jpg"):
                with open(os.path.join(folder, os.path.basename(member.name)), "wb") as out:
                    out.write(members.extractfile(member).read())
                n -= 1
    if n:
        sys.exit(f"{tar} has {n} pictures too few: fewer --batches")


def ours(args, checkpoint, pictures):
    command = [args.bin, "generate", "caption", "--model", checkpoint, "--images", pictures, "--batch", str(args.batch), "--beams", str(args.beams),
               "--min-tokens", str(args.tokens), "--max-tokens", str(args.tokens), "--threads", str(args.threads), "--json", "--quiet"]
    ends, texts = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            ends.append(time.perf_counter())
            texts.append(json.loads(line)["text"])
    if process.returncode or len(ends) != (args.batches + 1) * args.batch:
        sys.exit(f"{' '.join(command)} failed: {len(ends)} captions")
    ends = ends[args.batch - 1::args.batch]
    return {"ms": [(b - a) * 1e3 for a, b in zip(ends, ends[1:])], "chars": statistics.mean(map(len, texts))}


def theirs(args, checkpoint, kind):
    numbers = [args.batch, args.beams, args.tokens, args.batches + 1, args.threads]
    command = [sys.executable, f"{HERE}/peers/hf_captions.py", kind, checkpoint, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **TUNED})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    row = json.loads(done.stdout.strip().splitlines()[-1])
    return {**row, "ms": row["ms"][1:]}


def main():
    args = arguments()
    checkpoint = checkpoint_of(args.model)
    with tempfile.TemporaryDirectory() as folder:
        unpack(args.tar, folder, (args.batches + 1) * args.batch)
        run = {f"transformers, {kind}": lambda kind=kind: theirs(args, checkpoint, kind) for kind in ("embeds", "cache")}
        run["m6"] = lambda: ours(args, checkpoint, folder)
        rows = {name: [] for name in run}
        for r in range(args.rounds):
            for name in (list(run) if r % 2 == 0 else list(run)[::-1]):
                rows[name].append(run[name]())
    words = {row["words"] for of in rows.values() for row in of if "words" in row}
    assert len(words) == 1, "both ways to give the prefix must write the same"
    told = {}
    for name, of in rows.items():
        ms = [x for row in of for x in row["ms"]]
        told[name] = {**of[0], "ms": ms, "median_ms": statistics.median(ms), "best_ms": min(ms)}
    told["m6"]["params"] = n_params(checkpoint)
    peer = min((row for name, row in told.items() if name != "m6"), key=lambda row: row["median_ms"])
    for name, row in told.items():
        row |= {f"captions_per_s{key}": args.batch / row[f"{at}_ms"] * 1e3 for key, at in (("", "median"), ("_best", "best"))}
        row |= {f"{at}_ratio": row[f"{at}_ms"] / peer[f"{at}_ms"] for at in ("median", "best")}
        print(f"{name:20} {row['params'] / 1e6:.2f} M  median {row['median_ms']:8.1f} ms  best {row['best_ms']:8.1f} ms a batch  n {len(row['ms']):3}  "
              f"{row['captions_per_s']:7.1f} captions/s (best {row['captions_per_s_best']:.1f})  ratio {row['median_ratio']:.2f} "
              f"(best {row['best_ratio']:.2f})", flush=True)
    print(json.dumps({"batch": args.batch, "beams": args.beams, "tokens": args.tokens, "threads": args.threads, **told}))


if __name__ == "__main__":
    main()
