#!/usr/bin/env python3
"""The sample world as web archives: what extraction finds of the planted truth.

    cargo build --release
    python3 bench/world.py --pages 1000 --seed 1
    python3 bench/world.py --world DIR

Draws the world (`m6 corpus world`), extracts its pages (`m6 corpus extract --batch`), and compares each page that is to be kept with its
planted text: F1 over character counts, white space left out. Of the pictures: how many content pictures were found, with the planted
caption, and how many others were taken for content. Standard library only.
"""
import argparse, collections, glob, json, os, re, subprocess, sys, tempfile

BLANK = re.compile(r"\s+")


def f1(found, wanted):
    a, b = (collections.Counter(BLANK.sub("", text)) for text in (found, wanted))
    both = sum((a & b).values())
    return 2 * both / max(1, sum(a.values()) + sum(b.values())) if a or b else 1.0


def run(args, *words):
    done = subprocess.run([args.bin, "corpus", *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"m6 corpus {' '.join(words)} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(args, folder):
    truth = [json.loads(line) for line in open(os.path.join(folder, "truth.jsonl"), encoding="utf-8")]
    pages, refused = {}, []
    for archive in sorted(glob.glob(os.path.join(folder, "*.warc.gz"))):
        for row in run(args, "extract", "--batch", archive, "--json", "--quiet"):
            if "error" in row:
                refused.append(row)
            else:
                pages[row["url"]] = row
    groups, lies, pictures = collections.defaultdict(list), [], collections.Counter()
    worst = []
    for row in truth:
        if row["kind"] in ("picture", "decoration"):
            continue
        page = pages.get(row["url"])
        if not row["keep"]:
            groups["(left out) " + row["kind"]].append(float(page is not None))
            continue
        score = f1(page["text"], row["text"]) if page else 0.0
        groups[row["kind"]].append(score)
        worst.append((score, row["kind"], row["url"]))
        if row["charset_lies"]:
            lies.append(score)
        found = {image["src"]: image["caption"] for image in page["images"]} if page else {}
        wanted = {image["src"]: image["caption"] for image in row["images"]}
        pictures["planted"] += len(wanted)
        pictures["found"] += len(wanted.keys() & found.keys())
        pictures["caption"] += sum(found.get(src) == caption for src, caption in wanted.items())
        pictures["others"] += len(found.keys() - wanted.keys())
    scores = sorted(score for score, _, _ in worst)
    print(f"{len(scores)} pages to keep: mean F1 {sum(scores) / len(scores):.4f}, median {scores[len(scores) // 2]:.4f}, least {scores[0]:.4f}, "
          f"{sum(score == 1 for score in scores)} exact; {len(refused)} rows refused")
    if lies:
        print(f"{len(lies)} of them lie about their charset: mean F1 {sum(lies) / len(lies):.4f}, least {min(lies):.4f}")
    print(f"pictures: {pictures['found']} of {pictures['planted']} found, {pictures['caption']} with the planted caption, {pictures['others']} others taken")
    for kind, values in sorted(groups.items()):
        what = "extracted" if kind.startswith("(") else "mean F1"
        print(f"  {kind:28} {len(values):5}  {what} {sum(values) / len(values):.4f}  least {min(values):.4f}")
    for score, kind, url in sorted(worst)[:args.worst]:
        print(f"  worst: {score:.4f} {kind} {url}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--bin", default="target/release/m6")
parser.add_argument("--world", help="a world drawn before; a new one is drawn without it")
parser.add_argument("--pages", type=int, default=1000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--worst", type=int, default=5)
if __name__ == "__main__":
    arguments = parser.parse_args()
    if arguments.world:
        compare(arguments, arguments.world)
    else:
        with tempfile.TemporaryDirectory() as folder:
            folder = os.path.join(folder, "world")
            run(arguments, "world", "--out", folder, "--pages", str(arguments.pages), "--seed", str(arguments.seed), "--json", "--quiet")
            compare(arguments, folder)
