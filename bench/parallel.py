#!/usr/bin/env python3
"""Training by many processes, measured: memory of each rank under ZeRO 0 to 3, and tokens per second of two ranks against one.

    cargo build --release --features mpi
    python3 bench/parallel.py memory --bin target/release/m6 --work target/parallel
    python3 bench/parallel.py speed --bin target/release/m6 --work target/parallel

`memory` prints the highest resident memory of the largest rank after the first update, by /proc, in MB. `speed` prints the medians of
interleaved runs, one thread a rank, the batch of a rank the same in both. One JSON object each.
"""
import argparse, glob, json, os, shutil, statistics, subprocess, time

parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["memory", "speed"])
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/parallel")
parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4])
parser.add_argument("--zero", type=int, nargs="*", default=[0, 1, 2, 3])
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--steps", type=int, default=12)
args = parser.parse_args()
ENV = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
DATA = os.path.join(args.work, "data")
SMALL = ["data.sources.world.n=300", "train.warmup_steps=1", "train.eval_every=0", "train.sample_every=0", "train.checkpoint_every=0"]


def flags(sets):
    return [x for s in sets for x in ("--set", s)]


def job(n, out, sets):
    shutil.rmtree(out, ignore_errors=True)
    words = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(n)]
    words += [args.bin, "pretrain", "m6-nano", "--data", DATA, "--out", out, "--threads", "1", "-q", *flags(SMALL + sets)]
    return subprocess.Popen(words, env=ENV, stdout=subprocess.DEVNULL)


def lines(out):
    try:
        return [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    except FileNotFoundError:
        return []


def resident(pid):
    try:
        status = open(f"/proc/{pid}/status").read()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    except (FileNotFoundError, IndexError):
        return 0.0


def pids(process, n):
    """The ranks of a job: the children of mpirun, or of what it has started for them."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = open(path).read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        if int(rest[1]) == process.pid and name == os.path.basename(args.bin)[:15]:
            found.append(int(path.split("/")[2]))
    return found


def memory():
    # 38 M parameters in blocks, a batch of a row a rank: the state is what counts.
    model = ["model.d_model=512", "model.n_heads=8", "model.d_ff=2048", "model.n_layers=12", "train.optimizer=\"adamw\"", "train.accum=4",
             "train.rows_per_batch=4", "train.activation_checkpointing=true", f"train.steps={args.steps}"]
    rows = []
    for n in args.ranks:
        for zero in args.zero if n > 1 else [0]:
            out = os.path.join(args.work, f"memory-{n}-{zero}")
            process = job(n, out, model + [f"parallel.zero={zero}"])
            most = 0.0
            while process.poll() is None:
                if 2 <= len(lines(out)) < args.steps - 1:
                    most = max([most] + [resident(pid) for pid in pids(process, n)])
                time.sleep(0.02)
            assert process.returncode == 0
            steps = lines(out)
            rows.append({"ranks": n, "zero": zero, "mb": round(most), "loss": steps[-1]["loss"],
                         "comm_s": statistics.median(s.get("comm_s", 0.0) for s in steps)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def speed():
    model = ["model.d_model=256", "model.d_ff=1024", "model.n_layers=4", "train.optimizer=\"adamw\"", f"train.steps={args.steps}"]
    ways = [("one", 1, 0)] + [(f"two, ZeRO {zero}", 2, zero) for zero in args.zero]
    seen = {name: [] for name, _, _ in ways}
    waited = {name: [] for name, _, _ in ways}
    for _ in range(args.rounds):
        for name, n, zero in ways:
            out = os.path.join(args.work, "speed")
            process = job(n, out, model + [f"train.accum={n}", f"train.rows_per_batch={4 * n}", f"parallel.zero={zero}"])
            assert process.wait() == 0
            steps = lines(out)[2:]
            seen[name].append(statistics.median(s["tokens_per_s"] for s in steps))
            waited[name].append(statistics.median(s.get("comm_s", 0.0) for s in steps))
            print(json.dumps({"way": name, "tokens_per_s": seen[name][-1], "comm_s": waited[name][-1]}), flush=True)
    one = statistics.median(seen["one"])
    rows = []
    for name, n, _ in ways:
        rate = statistics.median(seen[name])
        rows.append({"way": name, "tokens_per_s": round(rate), "of_ideal": round(rate / (n * one), 3),
                     "comm_s": round(statistics.median(waited[name]), 4)})
    return rows


os.makedirs(args.work, exist_ok=True)
if not os.path.exists(os.path.join(DATA, "data.json")):
    subprocess.run([args.bin, "prepare", "m6-nano", "--out", DATA, "-q", *flags(SMALL[:1])], check=True, stdout=subprocess.DEVNULL)
print(json.dumps({args.what: memory() if args.what == "memory" else speed()}))
