#!/usr/bin/env python3
"""Kills one rank of a run at random moments with SIGKILL, goes on each time with another number of ranks, and compares the end with a run that
was never killed.

    cargo build --release --features mpi
    python3 bench/kill_ranks.py --kills 20 --bin target/release/m6 --work target/kill-ranks

Every second block has experts, which are spread over all ranks in half of the jobs. With `parallel.exact` any mesh learns the same bytes, so the weights must be the same to the last one. After each kill the last step
that was written is compared with the last committed one: nothing else may be lost. Prints one JSON object; exit status 1 when a byte differs,
when more was lost, or when a job did not end within 30 seconds of the kill.
"""
import argparse, hashlib, json, os, random, shutil, signal, subprocess, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--kills", type=int, default=20)
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/kill-ranks")
parser.add_argument("--steps", type=int, default=120)
parser.add_argument("--every", type=int, default=4, help="steps between checkpoints")
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
random.seed(args.seed)
ENV = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
DATA = os.path.join(args.work, "data")
SETS = ["data.sources.world.n=300", f"train.steps={args.steps}", "train.warmup_steps=5", f"train.checkpoint_every={args.every}",
        "train.eval_every=0", "train.sample_every=0", "model.dropout=0.1", "train.accum=4", "train.rows_per_batch=4", "model.n_layers=2",
        "parallel.exact=true", "model.experts.n_experts=12", "model.d_model=64", "model.d_ff=1024"]
FLAGS = [x for s in SETS for x in ("--set", s)]


def start(out, ranks, zero, expert, resume):
    words = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks > 1 else []
    words += [args.bin, "pretrain", "m6-nano", "--data", DATA, "--out", out, "--threads", "1", "-q", *FLAGS, "--set", f"parallel.zero={zero}",
              "--set", f"parallel.expert={expert}"]
    return subprocess.Popen(words + (["--resume"] if resume else []), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ranks_of(process):
    """The m6 processes below mpirun, or the process itself."""
    found, open_ = [], [process.pid]
    while open_:
        pid = open_.pop()
        try:
            name = open(f"/proc/{pid}/comm").read().strip()
            children = open(f"/proc/{pid}/task/{pid}/children").read().split()
        except FileNotFoundError:
            continue
        if name not in ("mpirun", "orterun", "prterun"):
            found.append(pid)
        open_ += [int(child) for child in children]
    return found


def last_step(out):
    try:
        lines = open(os.path.join(out, "metrics.jsonl")).read().split("\n")[:-1]
        return json.loads(lines[-1])["step"] if lines else 0
    except FileNotFoundError:
        return 0


def committed(out):
    folder = os.path.join(out, "checkpoints")
    steps = [int(name[5:]) for name in os.listdir(folder) if name.startswith("step-") and name[5:].isdigit()] if os.path.isdir(folder) else []
    return max(steps, default=0)


def digest(out):
    path = os.path.join(out, "checkpoints", f"step-{args.steps:08d}", "model.safetensors")
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


shutil.rmtree(args.work, ignore_errors=True)
os.makedirs(args.work)
subprocess.run([args.bin, "prepare", "m6-nano", "--out", DATA, "-q", *FLAGS], check=True, stdout=subprocess.DEVNULL)
whole, killed = os.path.join(args.work, "whole"), os.path.join(args.work, "killed")
assert start(whole, 1, 0, 1, False).wait() == 0
n_kills, most_lost, slowest, rounds, ranks = 0, 0, 0.0, [], 0
while True:
    ranks = random.choice([n for n in (1, 2, 3, 4) if n != ranks])
    zero, expert = random.choice([0, 1, 2, 3]), random.choice([1, ranks])
    before = committed(killed)
    process = start(killed, ranks, zero, expert, os.path.isdir(killed))
    if n_kills == args.kills:
        assert process.wait() == 0, "the last resume failed"
        break
    # Some are killed while they start, some in the middle of an update, some while a checkpoint is written.
    until = time.time() + random.uniform(0.3, 6.0)
    while time.time() < until and process.poll() is None:
        time.sleep(0.01)
    victims = ranks_of(process)
    if process.poll() is None and victims:
        os.kill(random.choice(victims), signal.SIGKILL)
        n_kills += 1
        begin = time.time()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            sys.exit(f"{ranks} ranks had not ended 30 s after one was killed")
        slowest = max(slowest, time.time() - begin)
        lost = last_step(killed) - committed(killed)
        most_lost = max(most_lost, lost)
        rounds.append([ranks, expert, zero, before, committed(killed)])
    elif process.wait() == 0:
        # It ended before its kill: begin the run anew, so that there are as many kills as asked for.
        shutil.rmtree(killed)
same = digest(whole) == digest(killed)
print(json.dumps({"kills": n_kills, "steps": args.steps, "same_weights": same, "most_steps_lost": most_lost, "seconds_to_end": round(slowest, 2),
                  "ranks_expert_zero_from_to": rounds}))
sys.exit(0 if same and most_lost <= args.every else 1)
