#!/usr/bin/env python3
"""Writes the pictures and names that configs/real-draw.toml holds out, for `m6 eval image --retrieval`: emoji and icons, one prompt a picture.

    .venv/bin/pip install blake3
    .venv/bin/python bench/real_names.py DATA --out held-out [--n 100]
    m6 eval image --retrieval --model RUN --matcher OTHER --prompts held-out/prompts.jsonl --real held-out --json

A record is held out when the hash of its id says so, as in `m6 prepare`. Flowers are left out: their names are of kinds, which pictures of training share.
Of equal names the first is kept, so that every prompt has one right picture. `--n` takes as many of each set, spread evenly.
"""
import argparse, json, os, tarfile

from blake3 import blake3

parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--out", required=True)
parser.add_argument("--n", type=int, default=0, help="of each set; 0 for all")
args = parser.parse_args()
HELD_OUT = 0.08
SETS = [("emoji-zh/noto-72.tar", "name"), ("icons-zh/iconpark-72.tar", "title")]


def is_held_out(name):
    return (int.from_bytes(blake3(name.encode()).digest()[:8], "little") >> 11) / 2**53 < HELD_OUT


os.makedirs(args.out)
seen, lines = set(), []
for path, field in SETS:
    with tarfile.open(os.path.join(args.data, path)) as tar:
        members = {member.name: member for member in tar.getmembers()}
        read = lambda name: tar.extractfile(members[name]).read()
        records = [(name[:-5], json.loads(read(name))) for name in members if name.endswith(".json")]
        held = [(stem, row[field]) for stem, row in records if is_held_out(row["id"])]
        print(f"{path}: {len(held)} of {len(records)} held out")
        # Names that training pictures have as well are known, not unseen.
        known = {row[field] for _, row in records if not is_held_out(row["id"])}
        fresh = [(stem, name) for stem, name in held if name not in known and not (name in seen or seen.add(name))]
        step = max(1, len(fresh) // args.n) if args.n else 1
        for stem, name in fresh[::step][: args.n or None]:
            file = f"{os.path.basename(path)[:-4]}-{stem}.png"
            with open(os.path.join(args.out, file), "wb") as out:
                out.write(read(f"{stem}.png"))
            lines.append(json.dumps({"prompt": name, "file": file}, ensure_ascii=False))
with open(os.path.join(args.out, "prompts.jsonl"), "w", encoding="utf-8") as out:
    out.write("\n".join(lines) + "\n")
print(f"{len(lines)} prompts")
