#!/usr/bin/env python3
"""Script conversion: m6 beside OpenCC's own C++ package, on the same text, in turns, one thread each.

    python3 -m venv .venv && .venv/bin/pip install opencc
    cargo build --release
    .venv/bin/python bench/normalize.py --shared ../shared                     # MB/s, t2s and s2t
    .venv/bin/python bench/normalize.py --shared ../shared --same              # lines that differ, all configurations
    .venv/bin/python bench/normalize.py --shared ../shared --cases             # OpenCC's own cases
    .venv/bin/python bench/normalize.py --shared ../shared --rules             # MB/s of the cleaning rules, m6 alone

The text is real: headlines, classical prose with its modern reading, encyclopedia passages, web pages, reviews, poems; `t`, `tw` and `hk`
read what is written in traditional characters, `s` the rest, and `--same` gives both to every configuration. m6 is timed as a process from
start to end, its dictionaries and its reading and writing included, the package only while it converts; both in seconds of the
processor, so that neighbours on the machine weigh less. `--peer PYTHON` names another interpreter whose `opencc` is the peer (that of
`opencc-python-reimplemented`, which takes the same name).
"""
import argparse, json, os, resource, statistics, subprocess, sys, tempfile, time

CONFIGS = "s2t t2s s2tw tw2s s2hk hk2s s2twp tw2sp s2hkp hk2sp t2tw tw2t t2hk hk2t t2jp jp2t".split()
PEER = """
import sys, time, opencc
text = sys.stdin.buffer.read().decode()
converter = opencc.OpenCC(sys.argv[1])
converter.convert("\\u6f22")
start = time.process_time()
out = converter.convert(text)
sys.stderr.write(str(time.process_time() - start))
sys.stdout.buffer.write(out.encode())
"""


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def lines_of(shared, simplified):
    read = lambda name: rows(os.path.join(shared, "data", name + ".jsonl"))
    poems = read("poetry/poems")[:5000]
    if not simplified:
        texts = ["".join(row["lines"]) for row in poems]
        texts += [row["context"] for row in read("qa/drcd-dev-traditional")]
    else:
        texts = [row["text_s"] for row in poems]
        texts += [row["title"] for row in read("news/thucnews-titles")]
        texts += [row[key] for row in read("classical/parallel") for key in ("classical", "modern")]
        texts += [line for row in read("classical/prose") for line in row["paragraphs"]]
        texts += [row["context"] for row in read("qa/cmrc2018-dev")]
        texts += [line for row in read("qa/dureader-demo") for page in row["documents"] for line in page["paragraphs"]]
        texts += [row["review"] for row in read("ecommerce/reviews")]
    return [line for text in texts for line in text.split("\n") if line]


def text_of(shared, simplified, n_bytes=0):
    once = "\n".join(lines_of(shared, simplified)) + "\n"
    return once * max(1, round(n_bytes / len(once.encode())))


def is_simplified(config):
    return config.startswith("s2")


def m6(binary, options, text):
    """Seconds of the processor, and what was written."""
    command = [binary, "corpus", "normalize", "--threads", "1", "--quiet", *options]
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(text.encode())
        source.seek(0)
        used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        start = used()
        subprocess.run(command, stdin=source, stdout=target, check=True)
        seconds = used() - start
        target.seek(0)
        return seconds, target.read().decode()


def peer(python, config, text):
    done = subprocess.run([python, "-c", PEER, config], input=text.encode(), capture_output=True, check=True)
    return float(done.stderr), done.stdout.decode()


def speed(args):
    for config in args.configs.split(","):
        text = text_of(args.shared, is_simplified(config), args.mb << 20)
        mb = len(text.encode()) / 1e6
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(mb / m6(args.bin, ["--opencc", config], text)[0])
            theirs.append(mb / peer(args.peer, config, text)[0])
        ratio = statistics.median(ours) / statistics.median(theirs)
        spread = lambda all_of: [round(x, 1) for x in (min(all_of), statistics.median(all_of), max(all_of))]
        print(json.dumps({"config": config, "mb": round(mb, 1), "m6_mb_s": spread(ours), "opencc_mb_s": spread(theirs), "ratio": round(ratio, 2)}))


def same(args):
    texts = [text_of(args.shared, simplified) for simplified in (True, False)]
    for config in CONFIGS:
        n_lines, differing = 0, []
        for text in texts:
            ours, theirs = (out.split("\n") for out in (m6(args.bin, ["--opencc", config], text)[1], peer(args.peer, config, text)[1]))
            assert len(ours) == len(theirs)
            n_lines += len(ours) - 1
            differing += [pair for pair in zip(ours, theirs) if pair[0] != pair[1]]
        probe = "汉\0字\0軟\0件" * 3
        left = [len(m6(args.bin, ["--opencc", config], probe)[1]), len(peer(args.peer, config, probe)[1])]
        print(json.dumps({"config": config, "lines": n_lines, "differ": len(differing), "of_21_characters_with_nuls": left}))
        for a, b in differing[: args.show]:
            print(f"  m6     {a[:100]}\n  opencc {b[:100]}")


def cases(args):
    all_cases = rows(os.path.join(args.shared, "data/opencc/cases.jsonl"))
    wrong_ids = set()
    for config in CONFIGS:
        chosen = [case for case in all_cases if config in case["expected"]]
        got = m6(args.bin, ["--opencc", config], "".join(case["input"] + "\n" for case in chosen))[1].split("\n")
        wrong = [case["id"] for line, case in zip(got, chosen) if line != case["expected"][config]]
        wrong_ids |= set(wrong)
        print(json.dumps({"config": config, "cases": len(chosen), "right": len(chosen) - len(wrong)}))
    print(json.dumps({"cases": len(all_cases), "right_in_every_configuration": len(all_cases) - len(wrong_ids)}))


def rules(args):
    for simplified in (True, False):
        text = text_of(args.shared, simplified, args.mb << 20)
        mb = len(text.encode()) / 1e6
        for options in (["--rules", "default"], ["--rules", "m6"], ["--rules", "default", "--t2s"]):
            runs = [m6(args.bin, options, text) for _ in range(args.rounds)]
            out = runs[0][1]
            row = {"options": " ".join(options), "text": "simplified" if simplified else "traditional", "mb": round(mb, 1)}
            row["mb_s"] = round(statistics.median(mb / seconds for seconds, _ in runs), 1)
            row["lines_kept"] = out.count("\n") == text.count("\n")
            if "--t2s" not in options:  # OpenCC's own conversion, done twice, may change more
                row["idempotent"] = m6(args.bin, options, out)[1] == out
            print(json.dumps(row))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--bin", default="target/release/m6")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--configs", default="t2s,s2t")
    parser.add_argument("--mb", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--show", type=int, default=3, help="differing lines shown")
    for mode in (same, cases, rules):
        parser.add_argument(f"--{mode.__name__}", dest="mode", action="store_const", const=mode, default=speed)
    args = parser.parse_args()
    args.mode(args)


if __name__ == "__main__":
    main()
