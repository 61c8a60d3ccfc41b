#!/usr/bin/env python3
"""Kills `m6 corpus build` at random moments with SIGKILL, runs the same command again each time, and compares the digest of the
corpus with that of a build that was never killed; also that results of stages already finished are never made again.

    python3 bench/kill_corpus.py CONFIG --kills 30 --bin target/release/m6 --work target/kill-corpus [--set key=value ...]

Prints one JSON object. Exit status 1 when a digest differs or finished work is repeated.
"""
import argparse, json, os, random, shutil, signal, subprocess, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("config")
parser.add_argument("--kills", type=int, default=30)
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/kill-corpus")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--set", action="append", default=[])
args = parser.parse_args()
random.seed(args.seed)
FLAGS = [x for s in args.set for x in ("--set", s)]


def command(out):
    return [args.bin, "corpus", "build", args.config, "--out", out, "--json", "-q", *FLAGS]


def whole(out):
    begun = time.time()
    answer = json.loads(subprocess.run(command(out), check=True, capture_output=True).stdout)
    return answer, time.time() - begun


def finished(out):
    """Results of stages that are committed, with the time of their manifest."""
    found = {}
    for stage in os.listdir(os.path.join(out, "work")) if os.path.isdir(os.path.join(out, "work")) else []:
        folder = os.path.join(out, "work", stage)
        for key in os.listdir(folder) if os.path.isdir(folder) else []:
            manifest = os.path.join(folder, key, "MANIFEST.json")
            if not key.startswith(".") and os.path.exists(manifest):
                found[stage + "/" + key] = os.stat(manifest).st_mtime_ns
    return found


shutil.rmtree(args.work, ignore_errors=True)
os.makedirs(args.work)
expected, seconds = whole(os.path.join(args.work, "whole"))
out = os.path.join(args.work, "killed")
n_killed, n_repeated, n_wrong, n_builds = 0, 0, 0, 0
while n_killed < args.kills:
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL)
    before = finished(out)
    time.sleep(random.uniform(0.02, 0.6) * max(seconds, 0.5))
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    after = finished(out)
    n_repeated += sum(1 for key, made in before.items() if after.get(key) != made)
    n_killed += not ended
    if ended:
        n_builds += 1
        n_wrong += json.load(open(os.path.join(out, "manifest.json")))["digest"] != expected["digest"]
        shutil.rmtree(out)
if os.path.isdir(out):
    answer, _ = whole(out)
    n_builds += 1
    n_wrong += answer["digest"] != expected["digest"]
result = {"seconds_whole": round(seconds, 2), "kills": n_killed, "builds_finished": n_builds, "digests_that_differ": n_wrong,
          "finished_results_made_again": n_repeated}
print(json.dumps(result))
sys.exit(1 if n_wrong or n_repeated else 0)
