#!/usr/bin/env python3
"""Reading web archives beside fastwarc and warcio: records and payload bytes a second, one interleaved run, one thread each.

    python3 -m venv .venv && .venv/bin/pip install fastwarc warcio zstandard
    cargo build --release -p m6-clean --example archive_speed
    .venv/bin/python bench/archive.py ../shared/data/warc [--megabytes 250] [--rounds 5] [--only gzip,raw]

The sound files of the folder are repeated behind each other up to that many megabytes of raw text, in these forms: `gzip` (one
member a record, as crawls are), `small` (the same of records below 1 kB), `raw`, `wet`, `wat`, `zstd` (one frame a record) and
`arc`. Every reader parses HTTP heads and takes each payload whole. The first pass of each is dropped; the order of the readers
turns round every round. Medians and best are printed, and how many times as fast m6 is as each peer, by medians. Records and
payload bytes must be the same for all; a peer that does not read a form is said so.
"""
import argparse, gzip, json, os, statistics, subprocess, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--bin", default="target/release/examples/archive_speed")
parser.add_argument("--megabytes", type=int, default=250)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--only", default="gzip,small,raw,wet,wat,zstd,arc")
args = parser.parse_args()

CRAWL = ["assembled-zh.warc.gz", "dolma__sample-0000.warc.gz", "whirlwind-python__whirlwind.warc.gz", "warcio__example.warc.gz"]
FORMS = {
    "gzip": CRAWL,
    "small": ["warcio__example.warc.gz", "warcio__post-test.warc.gz"],
    "raw": CRAWL,
    "wet": ["whirlwind-python__whirlwind.warc.wet.gz"],
    "wat": ["whirlwind-python__whirlwind.warc.wat.gz"],
    "zstd": CRAWL,
    "arc": ["warcio__example.arc.gz"],
}


def m6(path):
    done = subprocess.run([args.bin, path], capture_output=True, text=True, check=True)
    row = json.loads(done.stdout)
    return row["seconds"], row["records"], row["payload_bytes"]


def fastwarc(path):
    from fastwarc.warc import ArchiveIterator
    start, n_records, n_bytes = time.perf_counter(), 0, 0
    with open(path, "rb") as stream:
        for record in ArchiveIterator(stream, parse_http=True):
            n_records += 1
            n_bytes += len(record.reader.read())
    return time.perf_counter() - start, n_records, n_bytes


def warcio(path):
    from warcio.archiveiterator import ArchiveIterator
    start, n_records, n_bytes = time.perf_counter(), 0, 0
    with open(path, "rb") as stream:
        for record in ArchiveIterator(stream):
            n_records += 1
            n_bytes += len(record.raw_stream.read())
    return time.perf_counter() - start, n_records, n_bytes


def build(form, out):
    """Writes the repeated file of a form."""
    packed = b"".join(open(os.path.join(args.folder, name), "rb").read() for name in FORMS[form])
    raw = gzip.decompress(packed)
    unit = packed
    if form == "raw":
        unit = raw
    if form == "zstd":
        import zstandard
        compressor, parts = zstandard.ZstdCompressor(level=3), members(packed)
        unit = b"".join(compressor.compress(part) for part in parts)
    # Small records are slow to read: a tenth of the bytes takes as long.
    share = 0.1 if form in ("small", "wat", "arc") else 1
    repeat = max(1, int(args.megabytes * 1e6 * share / len(raw)))
    with open(out, "wb") as file:
        for _ in range(repeat):
            file.write(unit)
    return repeat * len(raw)


def members(packed):
    """What the members of a gzip file hold."""
    import zlib
    while packed:
        decoder = zlib.decompressobj(wbits=31)
        yield decoder.decompress(packed)
        packed = decoder.unused_data


def compare(form, path, n_raw):
    readers = {"m6": m6, "fastwarc": fastwarc, "warcio": warcio}
    seen, times = {}, {name: [] for name in readers}
    for r in range(args.rounds + 1):
        for name, read in list(readers.items()) if r % 2 else list(readers.items())[::-1]:
            try:
                seconds, *found = read(path)
            except Exception as error:  # a peer that does not read this form
                print(f"{form:5} {name:9} does not read it: {type(error).__name__} {str(error).strip()[:60]}")
                del readers[name], times[name]
                continue
            seen[name] = found
            if r:
                times[name].append(seconds)
    ours = statistics.median(times["m6"])
    n_records, n_bytes = seen["m6"]
    for name in readers:
        median, best = statistics.median(times[name]), min(times[name])
        same = "" if seen[name] == seen["m6"] else f"  FOUND {seen[name][0]} records of {seen[name][1]} bytes"
        print(f"{form:5} {name:9} {n_records:7} records {n_raw / 1e6:6.1f} MB raw  median {median:7.3f} s {n_records / median:9.0f} records/s "
              f"{n_bytes / median / 1e6:6.0f} MB/s  best {best:7.3f} s  m6 is {median / ours:5.2f} times as fast{same}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    for form in args.only.split(","):
        path = os.path.join(folder, form)
        n_raw = build(form, path)
        compare(form, path, n_raw)
        os.remove(path)
