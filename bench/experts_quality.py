#!/usr/bin/env python3
"""What experts are worth at equal compute: a dense model and models of experts with the same multiply-adds a token, on the same rows of poems and
captions, every run reported.

    python3 bench/experts_quality.py DATA --bin target/release/m6 --work target/experts-quality --threads 1

DATA is the folder of the data sets. With two choices a token (top-2, or two prototypes) all blocks have experts, half as wide, so that a token
costs what it costs elsewhere. Losses are of the held-out rows, in nats a word, with the room of training's evaluation (`capacity_factor_eval`). Prints one JSON
object a run and a table at the end; a run that is there already is read, not made again.
"""
import argparse, json, os, subprocess

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/experts-quality")
parser.add_argument("--config", default="configs/experts-real.toml")
parser.add_argument("--steps", type=int, default=240)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seeds", type=int, nargs="*", default=[1])
parser.add_argument("--only", nargs="*", help="names of runs")
args = parser.parse_args()

# Experts in every block and not in every second one; two choices of half the width there cost what one of the whole width does.
EVERY = {"model.experts.moe_every": 1}
HALF = {**EVERY, "model.d_ff": 256}


def experts(n, **more):
    return {"model.experts.n_experts": n, **{f"model.experts.{key}": value for key, value in more.items()}}


RUNS = {
    "dense": {},
    "8, top-1": experts(8),
    "8, top-1, no balance loss": experts(8, aux_loss_weight=0.0),
    "32, top-1": experts(32),
    "32, top-1, no balance loss": experts(32, aux_loss_weight=0.0),
    "128, top-1": experts(128),
    "32 in every block, top-1": {**experts(32), **EVERY},
    "32 in every block, top-2": {**experts(32, top_k=2), **HALF},
    "32 in every block, 2 prototypes": {**experts(32, prototypes=2), **HALF},
    "32 in every block, 2 prototypes, no balance loss": {**experts(32, prototypes=2, aux_loss_weight=0.0), **HALF},
}


def call(*words):
    return subprocess.run([args.bin, *words], check=True, capture_output=True, text=True).stdout


def flags(sets):
    return [x for key, value in sets.items() for x in ("--set", f"{key}={value}")]


def folder(name):
    return os.path.join(args.work, name.replace(", ", "-").replace(" ", "-"))


os.makedirs(args.work, exist_ok=True)
rows = os.path.join(args.work, "data")
if not os.path.exists(os.path.join(rows, "data.json")):
    call("prepare", args.config, "--set", f"data.root={args.data}", "--out", rows, "-q")
table = []
for name, sets in RUNS.items():
    if args.only and name not in args.only:
        continue
    for seed in args.seeds:
        out = folder(name) + (f"-seed{seed}" if seed != 1 else "")
        if not os.path.exists(os.path.join(out, "done.json")):
            told = call("pretrain", args.config, "--data", rows, "--out", out, "--overwrite", "-q", "--json", "--threads", str(args.threads),
                        *flags({"data.root": args.data, "train.steps": args.steps, "train.seed": seed, **sets}))
            with open(os.path.join(args.work, "said.json"), "w") as f:
                f.write(told)
            os.rename(os.path.join(args.work, "said.json"), os.path.join(out, "done.json"))
        lines = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
        last = [line for line in lines if "eval/lm" in line][-1]
        tail = lines[-50:]
        mean = lambda key: sum(line.get(key, 0.0) for line in tail) / len(tail)
        told = json.loads(open(os.path.join(out, "done.json")).read().strip().splitlines()[-1])
        plan = json.loads(call("plan", os.path.join(out, "config.resolved.toml"), "--json")) if os.path.exists(os.path.join(out, "config.resolved.toml")) else {}
        row = {"run": name, "seed": seed, "poems": round(last["eval/lm"], 4), "captions": round(last["eval/image_to_text"], 4),
               "dropped": round(mean("moe/dropped"), 3), "load_cv": round(mean("moe/load_cv"), 2), "tokens_per_s": round(mean("tokens_per_s")),
               "params_total": plan.get("params_total"), "params_active": plan.get("params_active"), "steps": told.get("steps")}
        table.append(row)
        print(json.dumps(row), flush=True)
print("\n| experts | M parameters, active | poems | captions | dropped | load cv | tokens/s |\n|---|---|---|---|---|---|---|")
for row in table:
    params = f"{row['params_total'] / 1e6:.1f}, {row['params_active'] / 1e6:.1f}" if row["params_total"] else "-"
    print(f"| {row['run']} | {params} | {row['poems']:.3f} | {row['captions']:.3f} | {row['dropped']:.1%} | {row['load_cv']:.2f} | {row['tokens_per_s']} |")
