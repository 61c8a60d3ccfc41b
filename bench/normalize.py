#!/usr/bin/env python3
"""Script conversion: m6 beside OpenCC's own C++ package, on the same text, in turns, one thread each.

    python3 -m venv .venv && .venv/bin/pip install opencc
    cargo build --release
    .venv/bin/python bench/normalize.py --shared ../shared --configs t2s,s2t --mb 64 --rounds 5
    .venv/bin/python bench/normalize.py --shared ../shared --cases [--tables DIR]

The text is real (poems, questions and answers, news), repeated to the size asked for; t2* and tw2*/hk2* read traditional text, s2* simplified.
m6 is timed as a process from start to end, the package only while it converts (its dictionaries are loaded before); both in seconds of the processor,
so that neighbours on the machine weigh less. `--cases` counts OpenCC's own
cases by configuration. Lines that differ are counted, and a text with NULs is sent through both.
"""
import argparse, json, os, resource, subprocess, sys, tempfile, time


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def lines_of(shared, simplified):
    data = os.path.join(shared, "data")
    lines = []
    for row in rows(f"{data}/poetry/poems.jsonl")[:20000]:
        lines.append(row["text_s"] if simplified else "".join(row["lines"]))
    name = "cmrc2018-dev" if simplified else "drcd-dev-traditional"
    lines += [row["context"].replace("\n", " ") for row in rows(f"{data}/qa/{name}.jsonl")]
    return [line for line in lines if line]


def text_of(shared, simplified, n_bytes):
    once = "\n".join(lines_of(shared, simplified)) + "\n"
    return once * max(1, n_bytes // len(once.encode()))


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def m6(binary, config, text, tables=None):
    command = [binary, "corpus", "normalize", "--opencc", config, "--threads", "1", "--quiet"]
    command += ["--tables", tables] if tables else []
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(text.encode())
        source.seek(0)
        start = children()
        code = subprocess.run(command, stdin=source, stdout=target).returncode
        seconds = children() - start
        target.seek(0)
        return seconds, target.read().decode() if code == 0 else None


def speed(args):
    try:
        import opencc
    except ImportError:
        opencc = None
        print("opencc is not installed: m6 alone", file=sys.stderr)
    for config in args.configs.split(","):
        text = text_of(args.shared, config.startswith("s2"), args.mb << 20)
        mb = len(text.encode()) / 1e6
        peer = opencc.OpenCC(config) if opencc else None
        ours, theirs = [], []
        for _ in range(args.rounds):
            seconds, out = m6(args.bin, config, text, args.tables)
            if out is None:
                break
            ours.append(seconds)
            if peer:
                start = time.process_time()
                expected = peer.convert(text)
                theirs.append(time.process_time() - start)
        row = {"config": config, "mb": round(mb, 1)}
        row["m6_mb_s"] = round(mb / sorted(ours)[len(ours) // 2], 1) if ours else None
        if ours and theirs:
            row["opencc_mb_s"] = round(mb / sorted(theirs)[len(theirs) // 2], 1)
            row["ratio"] = round(sorted(theirs)[len(theirs) // 2] / sorted(ours)[len(ours) // 2], 2)
            pairs = list(zip(out.split("\n"), expected.split("\n")))
            row["lines"], row["lines_differ"] = len(pairs), sum(a != b for a, b in pairs)
            differ = sum(x != y for a, b in pairs if len(a) == len(b) for x, y in zip(a, b))
            row["chars_equal"] = round(1 - differ / max(1, len(expected)), 6)
        print(json.dumps(row))
    probe = "汉\0字\0軟\0件" * 3
    for config in args.configs.split(","):
        out = m6(args.bin, config, probe, args.tables)[1]
        n_peer = len(opencc.OpenCC(config).convert(probe)) if opencc else None
        print(json.dumps({"config": config, "with_nul": len(probe), "m6": out and len(out), "opencc": n_peer}))


def cases(args):
    all_cases = rows(os.path.join(args.shared, "data/opencc/cases.jsonl"))
    n_right, wrong_ids = {}, set()
    for config in sorted({name for case in all_cases for name in case["expected"]}):
        chosen = [case for case in all_cases if config in case["expected"]]
        out = m6(args.bin, config, "".join(case["input"] + "\n" for case in chosen), args.tables)[1]
        got = out.split("\n") if out is not None else [None] * len(chosen)
        right = [line == case["expected"][config] for line, case in zip(got, chosen)]
        wrong_ids |= {case["id"] for ok, case in zip(right, chosen) if not ok}
        n_right[config] = (sum(right), len(chosen))
        print(json.dumps({"config": config, "cases": len(chosen), "right": sum(right), "supported": out is not None}))
    whole = len(all_cases) - len(wrong_ids)
    print(json.dumps({"cases": len(all_cases), "right_in_every_configuration": whole}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--bin", default="target/release/m6")
    parser.add_argument("--configs", default="t2s,s2t,s2tw,hk2s")
    parser.add_argument("--tables")
    parser.add_argument("--mb", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", action="store_true")
    args = parser.parse_args()
    (cases if args.cases else speed)(args)


if __name__ == "__main__":
    main()
