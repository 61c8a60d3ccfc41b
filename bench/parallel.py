#!/usr/bin/env python3
"""Training by many processes, measured: memory of each rank under ZeRO 0 to 3, with matrices split and with experts spread, and tokens per second of
two ranks against one.

    cargo build --release --features mpi
    python3 bench/parallel.py memory --bin target/release/m6 --work target/parallel
    python3 bench/parallel.py experts --bin target/release/m6 --work target/parallel
    python3 bench/parallel.py speed --bin target/release/m6 --work target/parallel

`memory` prints the highest resident memory of the largest rank after the first update, by /proc, in MB, under ZeRO and with split matrices, beside what
`pretrain --dry-run` plans for weights, gradients and moments; `experts` the same for a model of 16 experts a block that 1, 2 and 4 ranks share. `speed`
prints the medians of interleaved runs, one thread a rank, the batch of a rank the same in all. One JSON object each.
"""
import argparse, glob, json, os, shutil, statistics, subprocess, time

parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["memory", "experts", "speed"])
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


# A batch of a row a rank: the state is what counts.
STATE = ["train.optimizer=\"adamw\"", "train.accum=4", "train.rows_per_batch=4", "train.activation_checkpointing=true", f"train.steps={args.steps}"]


def most_resident(name, n, sets):
    """The highest resident memory of the largest rank after the first update, and the last loss."""
    out = os.path.join(args.work, name)
    process = job(n, out, sets)
    most = 0.0
    while process.poll() is None:
        if 2 <= len(lines(out)) < args.steps - 1:
            most = max([most] + [resident(pid) for pid in pids(process, n)])
        time.sleep(0.02)
    assert process.returncode == 0
    steps = lines(out)
    return {"mb": round(most), "loss": steps[-1]["loss"], "comm_s": statistics.median(s.get("comm_s", 0.0) for s in steps)}


def memory():
    # 38 M parameters in blocks.
    model = ["model.d_model=512", "model.n_heads=8", "model.d_ff=2048", "model.n_layers=12", *STATE]
    rows = []
    for n in args.ranks:
        tensors = [tensor for tensor in (1, 2, 4) if tensor <= n]
        for tensor in tensors:
            for zero in args.zero if n > tensor else [0]:
                data = n // tensor
                sets = model + [f"parallel.zero={zero}", f"parallel.tensor={tensor}"]
                found = most_resident(f"memory-{n}-{tensor}-{zero}", n, sets)
                rows.append({"ranks": n, "tensor": tensor, "zero": zero, **found, **planned(data, sets)})
                print(json.dumps(rows[-1]), flush=True)
    return rows


def planned(n, sets):
    """Bytes of weights, gradients and moments of the largest rank of `n` data ranks, in MB, as the run itself would deal them out."""
    words = [args.bin, "pretrain", "m6-nano", "--data", DATA, "--out", "unused", "--dry-run", "--json", *flags(SMALL + sets + [f"parallel.data={n}"])]
    row = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    kinds = ("weights", "gradients", "moments")
    most = max(row["ranks"], key=lambda rank: sum(rank[kind] for kind in kinds))
    return {f"planned_{kind}_mb": round(most[kind] / 1e6) for kind in kinds}


def experts():
    # 16 experts in each of 6 blocks: 50 M of 52 M parameters.
    model = ["model.d_model=256", "model.n_heads=4", "model.d_ff=1024", "model.n_layers=6", "model.experts.n_experts=16", "model.experts.moe_every=1", *STATE]
    rows = []
    meshes = [(1, 1, 0), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 1, 1), (4, 2, 1), (4, 4, 1), (4, 4, 2), (4, 2, 3), (4, 4, 3)]
    for n, expert, zero in meshes:
        sets = model + [f"parallel.expert={expert}", f"parallel.zero={zero}"]
        found = most_resident(f"experts-{n}-{expert}-{zero}", n, sets)
        rows.append({"ranks": n, "expert": expert, "zero": zero, **found, **planned(n, sets)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def speed():
    model = ["model.d_model=256", "model.d_ff=1024", "model.n_layers=4", "train.optimizer=\"adamw\"", f"train.steps={args.steps}"]
    ways = [("one", 1, [])] + [(f"two, ZeRO {zero}", 2, [f"parallel.zero={zero}"]) for zero in args.zero]
    ways += [("two, split", 1, ["parallel.tensor=2"])]
    seen = {name: [] for name, _, _ in ways}
    waited = {name: [] for name, _, _ in ways}
    for _ in range(args.rounds):
        for name, n, mesh in ways:
            out = os.path.join(args.work, "speed")
            ranks = 2 if name != "one" else 1
            process = job(ranks, out, model + [f"train.accum={n}", f"train.rows_per_batch={4 * n}", *mesh])
            assert process.wait() == 0
            steps = lines(out)[2:]
            seen[name].append(statistics.median(s["tokens_per_s"] for s in steps))
            waited[name].append(statistics.median(s.get("comm_s", 0.0) for s in steps))
            print(json.dumps({"way": name, "tokens_per_s": seen[name][-1], "comm_s": waited[name][-1]}), flush=True)
    one = statistics.median(seen["one"])
    rows = []
    for name, _, _ in ways:
        rate, n = statistics.median(seen[name]), 1 if name == "one" else 2
        rows.append({"way": name, "tokens_per_s": round(rate), "of_ideal": round(rate / (n * one), 3),
                     "comm_s": round(statistics.median(waited[name]), 4)})
    return rows


os.makedirs(args.work, exist_ok=True)
if not os.path.exists(os.path.join(DATA, "data.json")):
    subprocess.run([args.bin, "prepare", "m6-nano", "--out", DATA, "-q", *flags(SMALL[:1])], check=True, stdout=subprocess.DEVNULL)
print(json.dumps({args.what: {"memory": memory, "experts": experts, "speed": speed}[args.what]()}))
