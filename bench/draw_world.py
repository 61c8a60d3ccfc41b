#!/usr/bin/env python3
"""How much of a prompt is in what was drawn, by way of drawing: the tables of docs/benchmarks.md, sample world.

    cargo build --release
    python3 bench/draw_world.py --model RUN [--n 120] [--only guidance,decode,steps,best,inpaint] [--out FOLDER]

Every row is one `m6 eval image --model RUN --world`: the same unseen prompts, the same seed. `ceiling` is what is left of the world's own
pictures after the VQGAN; `shuffled` are the drawn pictures against the next prompt. `inpaint` draws the middle of true pictures anew and checks
that every code outside the mask is the picture's own. Standard library only.
"""
import argparse, json, os, struct, subprocess, sys, tempfile, time, zlib

ATTRIBUTES = ["color", "shape", "count", "position", "all"]


def m6(args, *words):
    began = time.time()
    done = subprocess.run([args.bin, *words, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"m6 {' '.join(words)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], time.time() - began


def row(name, scores, seconds=None):
    cells = [f"{100 * scores[a]:5.1f}" for a in ATTRIBUTES]
    print(f"{name:42} {' '.join(cells)}" + (f"  {seconds:6.1f} s" if seconds is not None else ""), flush=True)


def drawn(args, name, *words, out=None):
    words = [*words, *(["--out", out] if out else [])]
    (scores,), seconds = m6(args, "eval", "image", "--model", args.model, "--world", "--n", str(args.n), *words)
    row(name, scores, seconds)
    return scores


def ceiling(args, work):
    truth, rebuilt = os.path.join(work, "truth"), os.path.join(work, "rebuilt")
    (scores,), _ = m6(args, "eval", "image", "--world", "--n", str(args.n), "--out", truth)
    row("the world's own pictures", scores)
    m6(args, "vqgan", "reconstruct", "--model", os.path.join(args.model, "vqgan") if not args.vqgan else args.vqgan,
       "--images", truth, "--out", rebuilt)
    (scores,), _ = m6(args, "eval", "image", "--measure", os.path.join(rebuilt, "pictures"),
                      "--prompts", os.path.join(truth, "prompts.jsonl"))
    row("ceiling: the same through the codes", scores)
    row("  against the next prompt", scores["control"]["shuffled"])


def png(path, side, white):
    rows = b"".join(b"\0" + bytes(255 if white(x, y) else 0 for x in range(side)) for y in range(side))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def inpaint(args, work):
    """Draws the middle of eight true pictures anew with both methods; codes outside the mask must be the picture's."""
    mask = os.path.join(work, "mask.png")
    png(mask, 64, lambda x, y: 16 <= x < 48 and 16 <= y < 48)
    prompts = [json.loads(line) for line in open(os.path.join(work, "truth", "prompts.jsonl"), encoding="utf-8")][:8]
    for method in ["ar", "parallel"]:
        kept = total = 0
        for i, case in enumerate(prompts):
            picture = os.path.join(work, "truth", case["file"])
            (own,), _ = m6(args, "vqgan", "encode", "--model", args.vqgan or os.path.join(args.model, "vqgan"), "--image", picture)
            out = os.path.join(work, f"inpaint-{method}-{i}")
            m6(args, "generate", "image", "--model", args.model, "--prompt", case["prompt"], "--inpaint", picture, "--mask", mask,
               "--decode", method, "--n", "4", "--top-k", "64", "--out", out)
            grid = own["grid"]
            outside = [p for p in range(grid * grid) if not (2 <= p // grid < 6 and 2 <= p % grid < 6)]
            for line in open(os.path.join(out, "pictures.jsonl"), encoding="utf-8"):
                codes = json.loads(line)["codes"]
                total += len(outside)
                kept += sum(codes[p] == own["codes"][p] for p in outside)
        print(f"inpaint, {method}: {kept} of {total} codes outside the mask are the picture's own")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--vqgan", help="the VQGAN, where it is not in the run")
    parser.add_argument("--n", type=int, default=120)
    parser.add_argument("--only", default="guidance,decode,steps,best,inpaint")
    parser.add_argument("--out", help="keeps the pictures here")
    parser.add_argument("--bin", default="target/release/m6")
    args = parser.parse_args()
    work = args.out or tempfile.mkdtemp()
    os.makedirs(work, exist_ok=True)
    only = args.only.split(",")
    print(f"{'%':42} {' '.join(f'{a[:5]:>5}' for a in ATTRIBUTES)}")
    ceiling(args, work)
    if "guidance" in only:
        for g in ["1", "2", "3", "5"]:
            scores = drawn(args, f"top-k 64, guidance {g}", "--top-k", "64", "--guidance", g, out=os.path.join(work, f"guidance-{g}"))
            if g == "3":
                row("  against the next prompt", scores["control"]["shuffled"])
    if "decode" in only:
        drawn(args, "greedy, guidance 3", "--temperature", "0")
        drawn(args, "all codes, guidance 3", "--guidance", "3")
        drawn(args, "top-k 8, guidance 3", "--top-k", "8")
        drawn(args, "top-p 0.9, guidance 3", "--top-p", "0.9")
    if "steps" in only:
        for steps in ["4", "8", "12", "24", "48"]:
            drawn(args, f"parallel, {steps} steps, guidance 3", "--decode", "parallel", "--steps", steps, "--top-k", "64",
                  out=os.path.join(work, f"parallel-{steps}"))
    if "best" in only:
        drawn(args, "best of 8 by its own codes_to_text", "--top-k", "64", "--best-of", "8", out=os.path.join(work, "best-8"))
    if "inpaint" in only:
        inpaint(args, work)


if __name__ == "__main__":
    main()
