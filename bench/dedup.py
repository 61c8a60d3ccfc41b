#!/usr/bin/env python3
"""Near-duplicates: m6 against brute force, on labelled real pairs, and beside its peers.

    python3 -m venv daft && daft/bin/pip install numpy daft==0.7.26 datasketch
    python3 -m venv juicer && juicer/bin/pip install py-data-juicer==1.6.1 aiohttp
    python3 -m venv trove && trove/bin/pip install "datatrove[io,processing]==0.10.1" jieba spacy
    cargo build --release
    daft/bin/python bench/dedup.py draw --shared ../shared --n 20000 --out target/dedup.jsonl
    daft/bin/python bench/dedup.py truth --input target/dedup.jsonl --thresholds 0.6,0.7,0.8,0.9
    daft/bin/python bench/dedup.py real --shared ../shared
    daft/bin/python bench/dedup.py speed --input target/dedup.jsonl --daft daft/bin/python --juicer juicer/bin/python --datatrove trove/bin/python
    daft/bin/python bench/dedup.py large --input target/dedup.jsonl --copies 20 --budgets 128MB,4GB

`draw` makes documents of sentences of real modern and classical text, 30 % of them edited copies: a synthetic set with real words.
`truth` finds every pair at or above a threshold by counting shared character 5-grams (numpy) and compares m6's clusters with the clusters those
pairs make. `real` does the same for the two editions of Tang poems and the FreeBSD pages. `speed` takes turns; one thread each; peers
without an interpreter are left out; slow peers get the first documents only. `large` writes a file larger than the least budget and
compares results, times and peak memory of the budgets.
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


# ---- more data than memory

def enlarged(args):
    """A file of the input many times over; each copy has the clauses of a document in another order and most of them backwards."""
    path = f"{args.work}/large.jsonl"
    texts = [row["text"] for row in rows(args.input)]
    rng, n = random.Random(args.seed), 0
    with open(path, "w", encoding="utf-8") as out:
        for copy in range(args.copies):
            for text in texts:
                if copy:
                    # As long as real text, with its characters, and little like the document it was made of.
                    clauses = re.findall(r"[^，。！？；]+[，。！？；]?", text)
                    rng.shuffle(clauses)
                    text = "".join(clause[::-1] if rng.random() < 0.7 else clause for clause in clauses)
                out.write(json.dumps({"id": n, "text": text}, ensure_ascii=False) + "\n")
                n += 1
    return path, n


def large(args):
    import hashlib, resource
    os.makedirs(args.work, exist_ok=True)
    path, n = enlarged(args)
    print(f"{n} documents, {os.path.getsize(path) / 1e9:.2f} GB")
    for budget in args.budgets.split(","):
        command = [args.bin, "corpus", "dedup", "--input", path, "--json", "--quiet", "--memory", budget, "--temp", args.work]
        out = f"{args.work}/large-{budget}.out"
        start = time.perf_counter()
        with open(out, "wb") as sink:
            process = subprocess.Popen(command, stdout=sink)
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        with open(out, "rb") as lines:
            data = lines.read()
        kept = data.count(b'"kept":true')
        print(f"--memory {budget}: status {status}, {seconds:.1f} s, {n / seconds:.0f} documents/s, peak {usage.ru_maxrss / 1024:.0f} MiB, "
              f"kept {kept}, output {hashlib.sha256(data).hexdigest()[:16]}", flush=True)


# ---- speed, one thread each

def peer_daft(texts, _):
    import daft
    frame = daft.from_pydict({"text": [" ".join(BLANK.sub("", text)) for text in texts]}).collect()
    start = time.perf_counter()
    frame.select(daft.col("text").minhash(num_hashes=112, ngram_size=5, seed=1, hash_function="xxhash")).collect()
    return time.perf_counter() - start


def peer_datasketch(texts, _):
    from datasketch import MinHash
    start = time.perf_counter()
    for text in texts:
        text = BLANK.sub("", text)
        MinHash(num_perm=112).update_batch([text[i:i + 5].encode() for i in range(max(1, len(text) - 4))])
    return time.perf_counter() - start


def peer_juicer(texts, _):
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
    signer = DocumentMinhashDeduplicator(tokenization="character", window_size=5, num_permutations=112, num_bands=14, num_rows_per_band=8)
    samples = [{"text": BLANK.sub("", text)} for text in texts]
    start = time.perf_counter()
    for sample in samples:
        signer.compute_hash(sample)
    return time.perf_counter() - start


def peer_juicer_whole(texts, _):
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
    from datasets import Dataset
    deduper = DocumentMinhashDeduplicator(tokenization="character", window_size=5, num_permutations=112, num_bands=14, num_rows_per_band=8,
                                          jaccard_threshold=0.8, num_proc=1)
    data = NestedDataset(Dataset.from_list([{"text": BLANK.sub("", text)} for text in texts]))
    start = time.perf_counter()
    hashed = data.map(deduper.compute_hash, num_proc=1)
    deduper.process(hashed)
    return time.perf_counter() - start


def trove_stages(folder, whole):
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    signer = MinhashDedupSignature(output_folder=f"{folder}/signatures", config=config, language="cmn_Hani")
    if not whole:
        return signer, []
    buckets = [MinhashDedupBuckets(input_folder=f"{folder}/signatures", output_folder=f"{folder}/buckets", config=config)] * config.num_buckets
    cluster = MinhashDedupCluster(input_folder=f"{folder}/buckets", output_folder=f"{folder}/remove", config=config)
    return signer, [*buckets, cluster, MinhashDedupFilter(input_folder=f"{folder}/remove")]


def peer_datatrove(texts, work, whole=False):
    import tempfile
    from datatrove.data import Document
    with tempfile.TemporaryDirectory(dir=work) as folder:
        documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
        signer, rest = trove_stages(folder, whole)
        # The word cutter loads its dictionary with the first text.
        signer.get_shingles("热身一下") if hasattr(signer, "get_shingles") else None
        start = time.perf_counter()
        signer.run(iter(documents), rank=0, world_size=1)
        for rank, stage in enumerate(rest[:-2]):
            stage.run(None, rank=rank, world_size=len(rest) - 2)
        if rest:
            rest[-2].run()
            sum(1 for _ in rest[-1].run(iter(documents), rank=0, world_size=1))
        return time.perf_counter() - start


def peer_datatrove_whole(texts, work):
    return peer_datatrove(texts, work, whole=True)


# Function, interpreter, documents (slow peers get a part of them).
PEERS = {"daft, signatures": (peer_daft, "daft", None), "datasketch, signatures": (peer_datasketch, "daft", 2000),
         "data-juicer, signatures": (peer_juicer, "juicer", 2000), "data-juicer, whole": (peer_juicer_whole, "juicer", 2000),
         "datatrove, signatures": (peer_datatrove, "datatrove", 500), "datatrove, whole": (peer_datatrove_whole, "datatrove", 500)}


def peer(args):
    """One peer in this interpreter: prints its seconds."""
    function, _, most = PEERS[args.peer]
    os.makedirs(args.work, exist_ok=True)
    texts = [row["text"] for row in rows(args.input)][:most]
    print(json.dumps({"documents": len(texts), "seconds": function(texts, args.work)}))


def timed_peer(args, name):
    python = getattr(args, PEERS[name][1])
    if not python:
        raise ImportError("no interpreter given")
    command = [python, os.path.abspath(__file__), "peer", "--peer", name, "--input", args.input, "--work", args.work]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ImportError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["documents"] / found["seconds"]


def timed_m6(args, *more):
    n = sum(1 for _ in open(args.input, "rb"))
    start = time.perf_counter()
    m6(args, args.input, 0.8, "--threads", "1", *more)
    return n / (time.perf_counter() - start)


def speed(args):
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", RAYON_NUM_THREADS="1", DAFT_RUNNER="native", DAFT_PROGRESS_BAR="0",
                      TOKENIZERS_PARALLELISM="false")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    candidates = [("m6, whole", lambda: timed_m6(args)), ("m6, whole, 8 MB", lambda: timed_m6(args, "--memory", "8MB"))]
    candidates += [(name, lambda name=name: timed_peer(args, name)) for name in PEERS if not args.only or any(o in name for o in args.only.split(","))]
    rates = {}
    for r in range(args.rounds):
        for name, measure in (candidates if r % 2 == 0 else candidates[::-1]):
            try:
                rates.setdefault(name, []).append(measure())
            except ImportError as error:
                print(f"{name}: left out ({error})", flush=True)
    for name, values in sorted(rates.items()):
        if values:
            print(f"{name:26} median {sorted(values)[len(values) // 2]:9.0f} documents/s  best {max(values):9.0f}  n {len(values)}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=["draw", "truth", "real", "speed", "peer", "large"])
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--shared", default="../shared")
parser.add_argument("--input", default="target/dedup.jsonl")
parser.add_argument("--out", default="target/dedup.jsonl")
parser.add_argument("--work", default="target/dedup")
parser.add_argument("--n", type=int, default=20000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--thresholds", default="0.6,0.7,0.8,0.9")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--daft", help="interpreter with daft and datasketch", default="")
parser.add_argument("--juicer", help="interpreter with py-data-juicer", default="")
parser.add_argument("--datatrove", help="interpreter with datatrove", default="")
parser.add_argument("--only", help="peers whose names hold one of these words, comma between them", default="")
parser.add_argument("--peer", choices=sorted(PEERS))
parser.add_argument("--copies", type=int, default=20, help="`large`: times the input is written with other words mixed in")
parser.add_argument("--budgets", default="128MB,4GB", help="`large`: memory budgets to compare")
if __name__ == "__main__":
    arguments = parser.parse_args()
    globals()[arguments.what](arguments)
