#!/usr/bin/env python3
"""Pseudo-to-Real (M6-10T) on real data: a model whose blocks share one set of weights, then the same model with a set for each block that begins from
it, against the same model trained so from the start, at the same updates and at the same seconds.

    python3 bench/pseudo_to_real.py DATA --bin target/release/m6 --work target/pseudo-to-real --threads 1

DATA is the folder of the data sets; the rows are those of configs/experts-real.toml (poems and captions). Three runs: `shared` for half of the
updates, `real` from its weights and moments for the other half, `own` for all of them. Each has a warm-up and the same constant rate, so that
halves fit together. Prints the held-out losses of each as they come, one JSON object a line, and where `own` stood after the same seconds.
"""
import argparse, json, os, subprocess

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--work", default="target/pseudo-to-real")
parser.add_argument("--config", default="configs/experts-real.toml")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--every", type=int, default=40)
parser.add_argument("--layers", type=int, default=8)
parser.add_argument("--threads", type=int, default=1)
args = parser.parse_args()


def call(*words):
    return subprocess.run([args.bin, *words], check=True, capture_output=True, text=True).stdout


def train(name, steps, **sets):
    out = os.path.join(args.work, name)
    sets = {"data.root": args.data, "train.steps": steps, "train.eval_every": args.every, "model.n_layers": args.layers, "train.min_lr_ratio": 1.0,
            "train.lr": 1e-3, **{key.replace("__", "."): value for key, value in sets.items()}}
    words = [x for key, value in sets.items() for x in ("--set", f"{key}={value}")]
    call("pretrain", args.config, "--data", rows, "--out", out, "--overwrite", "-q", "--json", "--threads", str(args.threads), *words)
    return [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]


def curve(name, lines, step=0, seconds=0.0):
    told = []
    for line in lines:
        if "eval/lm" in line:
            told.append({"run": name, "step": step + line["step"], "seconds": round(seconds + line["seconds"], 1),
                         "poems": round(line["eval/lm"], 4), "captions": round(line["eval/image_to_text"], 4)})
            print(json.dumps(told[-1]), flush=True)
    return told


os.makedirs(args.work, exist_ok=True)
rows = os.path.join(args.work, "data")
if not os.path.exists(os.path.join(rows, "data.json")):
    call("prepare", args.config, "--set", f"data.root={args.data}", "--out", rows, "-q")
half = args.steps // 2
first = train("shared", half, model__distinct_layers=1)
shared = curve("shared", first)
second = train("real", half, init__model=os.path.join(args.work, "shared"), init__optimizer="true", train__warmup_steps=0)
real = curve("real", second, half, first[-1]["seconds"])
print(json.dumps({"loss_before": first[-1]["loss"], "loss_of_the_first_update_after": second[0]["loss"]}), flush=True)
own = curve("own", train("own", args.steps))
then = [at for at in own if at["seconds"] <= real[-1]["seconds"]]
print(json.dumps({"at_the_end": {"shared then own": real[-1], "own": own[-1]}, "own_after_the_same_seconds": then[-1] if then else None}))
