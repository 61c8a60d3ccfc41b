#!/usr/bin/env python3
"""Reading a WARC beside fastwarc and warcio: records and payload bytes a second, one interleaved run, one thread each.

    python3 -m venv .venv && .venv/bin/pip install fastwarc warcio
    cargo build --release -p m6-corpus --example archive_speed
    .venv/bin/python bench/archive.py FILE.warc.gz [--repeat 10] [--rounds 5]

FILE is repeated behind itself (members of gzip may be) so that a pass takes a while; the raw form is timed as well. Every reader
parses HTTP heads and takes each payload whole. The first pass of each is dropped. Medians and best are printed, ratios of medians.
"""
import argparse, gzip, json, os, shutil, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--bin", default="target/release/examples/archive_speed")
parser.add_argument("--repeat", type=int, default=10)
parser.add_argument("--rounds", type=int, default=5)
args = parser.parse_args()


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


def compare(name, path):
    readers = [("fastwarc", fastwarc), ("m6", m6), ("warcio", warcio)]
    seen, times = {}, {label: [] for label, _ in readers}
    for r in range(args.rounds + 1):
        for label, read in readers if r % 2 == 0 else readers[::-1]:
            seconds, n_records, n_bytes = read(path)
            seen[label] = (n_records, n_bytes)
            if r:
                times[label].append(seconds)
    peer = statistics.median(times["fastwarc"])
    for label, _ in readers:
        median, best = statistics.median(times[label]), min(times[label])
        n_records, n_bytes = seen[label]
        print(f"{name:5} {label:9} {n_records:7} records {n_bytes / 1e6:8.1f} MB  median {n_records / median:9.0f} records/s "
              f"{n_bytes / median / 1e6:7.0f} MB/s  best {n_records / best:9.0f}  ratio to fastwarc {peer / median:.2f}", flush=True)


with tempfile.TemporaryDirectory() as folder:
    packed, raw = os.path.join(folder, "a.warc.gz"), os.path.join(folder, "a.warc")
    with open(packed, "wb") as out:
        for _ in range(args.repeat):
            with open(args.file, "rb") as part:
                shutil.copyfileobj(part, out)
    with gzip.open(packed, "rb") as part, open(raw, "wb") as out:
        shutil.copyfileobj(part, out)
    compare("gzip", packed)
    compare("raw", raw)
