#!/usr/bin/env python3
"""Kills a pretraining run at random moments with SIGKILL, resumes it each time, and compares the final weights byte for byte
with a run that was never killed; also 1 against 2 threads.

    python3 bench/kill_resume.py --kills 50 --bin target/release/m6 --work target/kill

Prints one JSON object. Exit status 1 when any byte differs.
"""
import argparse, hashlib, json, os, random, shutil, signal, subprocess, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--kills", type=int, default=50)
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/kill")
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
random.seed(args.seed)
SETS = ["data.sources.world.n=300", f"train.steps={args.steps}", "train.warmup_steps=5", "train.checkpoint_every=3",
        "train.eval_every=0", "train.sample_every=0", "model.dropout=0.1", "train.accum=2", "train.rows_per_batch=4",
        "model.n_layers=2"]
FLAGS = [x for s in SETS for x in ("--set", s)]
DATA = os.path.join(args.work, "data")


def m6(*words, check=True):
    return subprocess.run([args.bin, *words, "-q", *FLAGS], check=check, stdout=subprocess.DEVNULL)


def train(run, threads=2, resume=False):
    words = [args.bin, "pretrain", "m6-nano", "--data", DATA, "--out", run, "--threads", str(threads), "-q", *FLAGS]
    return subprocess.Popen(words + (["--resume"] if resume else []), stdout=subprocess.DEVNULL)


def final(run):
    folder = os.path.join(run, "checkpoints", f"step-{args.steps:08d}")
    out = {}
    for name in ("model.safetensors", "optimizer.safetensors"):
        out[name] = hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest()
    return out


def losses(run):
    return [json.loads(line)["loss"] for line in open(os.path.join(run, "metrics.jsonl"))]


shutil.rmtree(args.work, ignore_errors=True)
os.makedirs(args.work)
m6("prepare", "m6-nano", "--out", DATA)
whole, one, killed = (os.path.join(args.work, name) for name in ("whole", "one-thread", "killed"))
begin = time.time()
assert train(whole).wait() == 0
seconds = time.time() - begin
assert train(one, threads=1).wait() == 0

n_kills, n_resumes = 0, 0
process = train(killed)
while True:
    # Early moments too: reading the data, the first step, the middle of a commit.
    wait = random.uniform(0.02, max(0.3, seconds / 8)) if n_kills < args.kills else None
    try:
        code = process.wait(timeout=wait)
        if code == 0:
            if n_kills >= args.kills:
                break
            # It finished between two kills: start over, so that every kill hits a living run.
            shutil.rmtree(killed)
            process = train(killed)
            continue
        sys.exit(f"resume failed with exit code {code} after {n_kills} kills")
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        n_kills += 1
        n_resumes += 1
        process = train(killed, resume=True)

same_killed = final(whole) == final(killed) and losses(whole) == losses(killed)
same_threads = final(whole) == final(one) and losses(whole) == losses(one)
print(json.dumps({"kills": n_kills, "resumes": n_resumes, "identical": same_killed, "threads_1_2_identical": same_threads,
                  "steps": args.steps, "seconds_whole_run": round(seconds, 1), "weights": final(whole)}))
sys.exit(0 if same_killed and same_threads else 1)
