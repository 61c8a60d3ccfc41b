#!/usr/bin/env python3
"""Kills `m6 corpus build` at random moments with SIGKILL, runs the same command again each time, and compares the digest of the
corpus with that of a build that was never killed. That no finished work is repeated is counted from the builder's own log
(`work/log.jsonl`, a line when a result is begun and one when it is committed): a result that was committed before a run must not be
begun in it.

    cargo build --release -p m6
    python3 bench/kill_corpus.py configs/corpus.toml --kills 30 --set corpus.root=DATA [--bin target/release/m6] [--work FOLDER]

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


def committed(out):
    """Names of the results that are there whole."""
    found = set()
    work = os.path.join(out, "work")
    for stage in os.listdir(work) if os.path.isdir(work) else []:
        folder = os.path.join(work, stage)
        for key in os.listdir(folder) if os.path.isdir(folder) else []:
            if not key.startswith(".") and os.path.exists(os.path.join(folder, key, "MANIFEST.json")):
                found.add((stage, key))
    return found


def begun(out, since):
    """Results that the log says were begun after its first `since` bytes; a line cut by a kill is passed over."""
    found, path = [], os.path.join(out, "work", "log.jsonl")
    if not os.path.exists(path):
        return found, 0
    data = open(path, "rb").read()
    for line in data[since:].splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["event"] == "begin":
            found.append((row["stage"], row["key"]))
    return found, len(data)


shutil.rmtree(args.work, ignore_errors=True)
os.makedirs(args.work)
expected, seconds = whole(os.path.join(args.work, "whole"))
n_whole = len(begun(os.path.join(args.work, "whole"), 0)[0])
out = os.path.join(args.work, "killed")
n_killed, n_repeated, n_wrong, n_builds, n_begun, log_end = 0, 0, 0, 0, 0, 0


def check_run(before):
    global n_repeated, n_begun, log_end
    names, log_end = begun(out, log_end)
    n_begun += len(names)
    n_repeated += sum(name in before for name in names)


while n_killed < args.kills:
    before = committed(out)
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL)
    time.sleep(random.uniform(0.02, 0.5 * max(seconds, 0.5)))
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.wait()
    check_run(before)
    n_killed += not ended
    if ended:
        n_builds += 1
        n_wrong += json.load(open(os.path.join(out, "manifest.json")))["digest"] != expected["digest"]
        shutil.rmtree(out)
        log_end = 0
if os.path.isdir(out):
    before = committed(out)
    answer, _ = whole(out)
    check_run(before)
    n_builds += 1
    n_wrong += answer["digest"] != expected["digest"]
result = {"seconds_whole": round(seconds, 2), "results_of_a_whole_build": n_whole, "kills": n_killed, "builds_finished": n_builds,
          "results_begun": n_begun, "digests_that_differ": n_wrong, "finished_results_begun_again": n_repeated}
print(json.dumps(result))
sys.exit(1 if n_wrong or n_repeated else 0)
