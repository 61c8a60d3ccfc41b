#!/usr/bin/env python3
"""Near-duplicates: m6 against brute force, on labelled real pairs, and beside its peers.

    python3 -m venv .venv && .venv/bin/pip install numpy daft datasketch
    cargo build --release
    .venv/bin/python bench/dedup.py draw --shared ../shared --n 20000 --out target/dedup.jsonl
    .venv/bin/python bench/dedup.py truth --input target/dedup.jsonl --thresholds 0.6,0.7,0.8,0.9
    .venv/bin/python bench/dedup.py real --shared ../shared
    .venv/bin/python bench/dedup.py speed --input target/dedup.jsonl --rounds 3

`draw` makes documents of sentences of real modern and classical text, 30 % of them edited copies: a synthetic set with real words.
`truth` finds every pair at or above a threshold by counting shared character 5-grams (numpy) and compares m6's clusters with the clusters those
pairs make. `real` does the same for the two editions of Tang poems and the FreeBSD pages. `speed` takes turns; one thread each; peers that
are not installed are left out.
"""
import argparse, json, os, random, re, subprocess, sys, tarfile, time

BLANK = re.compile(r"\s+")


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def write(path, texts):
    with open(path, "w", encoding="utf-8") as out:
        for i, text in enumerate(texts):
            out.write(json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n")


# ---- drawn documents

def sentences(shared):
    data = os.path.join(shared, "data")
    passages = []
    for row in rows(f"{data}/classical/parallel.jsonl"):
        passages += [row["classical"], row["modern"]]
    for name in ["cmrc2018-dev", "drcd-dev-traditional"]:
        passages += [row["context"] for row in rows(f"{data}/qa/{name}.jsonl")]
    for row in rows(f"{data}/qa/dureader-demo.jsonl"):
        passages += row["answers"]
    found = {s for passage in passages for s in re.findall(r"[^。！？\n]+[。！？]?", passage) if 6 <= len(s) <= 200}
    return sorted(found)


def edited(text, pool, rng):
    """A copy with characters replaced, dropped or added, and in half of the cases sentences added, dropped or moved."""
    rate = rng.random() ** 2 * 0.08
    out = []
    for c in text:
        draw = rng.random()
        if draw < rate:
            kind = rng.randrange(3)
            out.append({0: rng.choice(text), 1: "", 2: c + rng.choice(text)}[kind])
        else:
            out.append(c)
    parts = re.findall(r"[^。！？]+[。！？]?", "".join(out))
    if rng.random() < 0.5 and len(parts) > 3:
        for _ in range(rng.randrange(1, 1 + len(parts) // 6 + 1)):
            kind = rng.randrange(3)
            if kind == 0:
                parts.insert(rng.randrange(len(parts)), rng.choice(pool))
            elif kind == 1:
                parts.pop(rng.randrange(len(parts)))
            else:
                parts.insert(rng.randrange(len(parts)), parts.pop(rng.randrange(len(parts))))
    return "".join(parts)


def draw(args):
    pool, rng = sentences(args.shared), random.Random(args.seed)
    texts = []
    for i in range(args.n):
        if i > 100 and rng.random() < 0.3:
            texts.append(edited(texts[rng.randrange(i)], pool, rng))
        else:
            length, text = rng.expovariate(1 / 850) + 40, ""
            while len(text) < length:
                text += rng.choice(pool)
            texts.append(text)
    write(args.out, texts)
    print(f"{len(texts)} documents, {os.path.getsize(args.out) / 1e6:.1f} MB, from {len(pool)} sentences")


# ---- brute force

def shingles(text, np):
    codes = np.frombuffer(BLANK.sub("", text).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64) + np.uint64(1)
    if len(codes) == 0:
        return codes
    n, factor = min(5, len(codes)), np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        hashes = np.full(len(codes) - n + 1, n, dtype=np.uint64)
        for k in range(n):
            hashes = (hashes ^ codes[k:len(codes) - n + 1 + k]) * factor
            hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes)


def all_pairs(texts, least):
    """Every pair with a Jaccard similarity of at least `least`, by counting for each document the shingles it shares with later ones."""
    import numpy as np
    sets = [shingles(text, np) for text in texts]
    sizes = np.array([len(s) for s in sets])
    ids = np.unique(np.concatenate(sets), return_inverse=True)[1].astype(np.int64)
    owner = np.repeat(np.arange(len(sets)), sizes)
    order = np.argsort(ids, kind="stable")
    holders, starts = owner[order], np.concatenate([[0], np.cumsum(np.bincount(ids))])
    begin = np.concatenate([[0], np.cumsum(sizes)])
    pairs = {}
    for i in range(len(sets)):
        mine = ids[begin[i]:begin[i + 1]]
        mine = mine[starts[mine + 1] - starts[mine] > 1]
        if len(mine) == 0:
            continue
        lengths = starts[mine + 1] - starts[mine]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        others = holders[np.repeat(starts[mine], lengths) + offsets]
        shared = np.bincount(others, minlength=len(sets))
        alike = shared / (sizes + sizes[i] - shared)
        for j in np.nonzero(alike >= least)[0]:
            if j > i:
                pairs[i, int(j)] = float(alike[j])
    return pairs


def components(n, pairs):
    parent = list(range(n))

    def root(i):
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for a, b in pairs:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    return [root(i) for i in range(n)]


def pairs_within(labels):
    groups = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(i)
    return {(a, b) for group in groups.values() for k, b in enumerate(group) for a in group[:k]}


# ---- m6

def m6(args, path, threshold, *more):
    command = [args.bin, "corpus", "dedup", "--input", path, "--threshold", str(threshold), "--json", "--quiet", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(args, name, path, texts, pairs, threshold):
    truth = {pair: s for pair, s in pairs.items() if s >= threshold}
    places = m6(args, path, threshold)
    assert [row["id"] for row in places] == list(range(len(texts)))
    found = pairs_within([row["cluster"] for row in places])
    wanted = pairs_within(components(len(texts), truth))
    dropped = [row for row in places if not row["kept"]]
    print(f"{name} at {threshold}: {len(truth)} pairs by brute force; recall {len(found & truth.keys()) / max(1, len(truth)):.4f}; "
          f"clusters: precision {len(found & wanted) / max(1, len(found)):.4f} recall {len(found & wanted) / max(1, len(wanted)):.4f}; "
          f"kept {len(places) - len(dropped)}, brute force {len(set(components(len(texts), truth)))}; "
          f"dropped {len(dropped)}, of them below the threshold to the one kept {sum(row['jaccard'] < threshold for row in dropped)}", flush=True)


def truth(args):
    texts = [row["text"] for row in rows(args.input)]
    thresholds = [float(t) for t in args.thresholds.split(",")]
    start = time.perf_counter()
    pairs = all_pairs(texts, min(thresholds))
    print(f"brute force over {len(texts)} documents: {time.perf_counter() - start:.1f} s")
    for threshold in thresholds:
        compare(args, os.path.basename(args.input), args.input, texts, pairs, threshold)


# ---- labelled real pairs

def poems(args):
    labelled = rows(f"{args.shared}/data/neardup/poem-editions.jsonl")
    texts = [text for row in labelled for text in (row["a"], row["b"])]
    path = f"{args.work}/poems.jsonl"
    write(path, texts)
    pairs = all_pairs(texts, 0.2)
    for threshold in [0.3, 0.4, 0.5, 0.8]:
        compare(args, "poems", path, texts, pairs, threshold)
        cluster = [row["cluster"] for row in m6(args, path, threshold)]
        joined = {}
        for i, row in enumerate(labelled):
            joined.setdefault(row["label"], []).append(cluster[2 * i] == cluster[2 * i + 1])
        print("   joined:", ", ".join(f"{label} {sum(hits)}/{len(hits)}" for label, hits in sorted(joined.items())))


def pages(args):
    """The FreeBSD pages: tags taken out, as the README of the data says, and the given similarities compared with those found here."""
    folder = f"{args.shared}/data/encodings"
    index = {row["path"]: row for row in rows(f"{folder}/pages.jsonl")}
    listed = rows(f"{args.shared}/data/neardup/freebsd-variants.jsonl")
    names = sorted({row[side] for row in listed for side in "ab"})
    with tarfile.open(f"{folder}/pages.tar.gz") as tar:
        raw = {name: tar.extractfile(index[name]["file"]).read() for name in names}
    codec = {"gb2312": "gb18030", "big5": "big5hkscs"}
    decode = lambda name: raw[name].decode(codec.get(index[name]["encoding"], index[name]["encoding"]), "replace")
    texts = [re.sub(r"<[^>]*>", "", decode(name)) for name in names]
    path = f"{args.work}/pages.jsonl"
    write(path, texts)
    pairs = all_pairs(texts, 0.2)
    at = {name: i for i, name in enumerate(names)}
    apart = [abs(row["char5_jaccard"] - pairs.get(tuple(sorted((at[row["a"]], at[row["b"]]))), 0)) for row in listed]
    print(f"{len(listed)} listed pairs of {len(names)} pages: similarity differs from the listed one by at most {max(apart):.4f}")
    for threshold in [0.6, 0.7, 0.8, 0.9]:
        compare(args, "pages", path, texts, pairs, threshold)


def real(args):
    os.makedirs(args.work, exist_ok=True)
    poems(args)
    pages(args)


# ---- speed, one thread each

def peer_daft(texts):
    import daft
    frame = daft.from_pydict({"text": [" ".join(BLANK.sub("", text)) for text in texts]}).collect()
    start = time.perf_counter()
    frame.select(daft.col("text").minhash(num_hashes=112, ngram_size=5, seed=1, hash_function="xxhash")).collect()
    return time.perf_counter() - start


def peer_datasketch(texts):
    from datasketch import MinHash
    start = time.perf_counter()
    for text in texts:
        text = BLANK.sub("", text)
        MinHash(num_perm=112).update_batch([text[i:i + 5].encode() for i in range(max(1, len(text) - 4))])
    return time.perf_counter() - start


def timed_m6(args, texts, *more):
    start = time.perf_counter()
    m6(args, args.input, 0.8, "--threads", "1", *more)
    return time.perf_counter() - start


def speed(args):
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", RAYON_NUM_THREADS="1", DAFT_RUNNER="native", DAFT_PROGRESS_BAR="0")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    texts = [row["text"] for row in rows(args.input)]
    few = texts[:2000]
    candidates = [("m6, whole verb", texts, lambda t: timed_m6(args, t)), ("m6, whole verb, 8 MB", texts, lambda t: timed_m6(args, t, "--memory", "8MB")),
                  ("daft, signatures", texts, peer_daft), ("datasketch, signatures", few, peer_datasketch)]
    rates = {}
    for r in range(args.rounds):
        for name, documents, peer in (candidates if r % 2 == 0 else candidates[::-1]):
            try:
                rate = len(documents) / peer(documents)
            except ImportError as error:
                print(f"{name}: left out ({error})")
                continue
            rates.setdefault(name, []).append(rate)
    for name, values in sorted(rates.items()):
        print(f"{name:24} median {sorted(values)[len(values) // 2]:9.0f} documents/s  best {max(values):9.0f}  n {len(values)}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["draw", "truth", "real", "speed"])
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--shared", default="../shared")
parser.add_argument("--input", default="target/dedup.jsonl")
parser.add_argument("--out", default="target/dedup.jsonl")
parser.add_argument("--work", default="target/dedup")
parser.add_argument("--n", type=int, default=20000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--thresholds", default="0.6,0.7,0.8,0.9")
parser.add_argument("--rounds", type=int, default=3)
if __name__ == "__main__":
    arguments = parser.parse_args()
    globals()[arguments.what](arguments)
