#!/usr/bin/env python3
"""The language model and the classifier on real text, through the verbs that train them, with controls.

    cargo build --release
    python3 bench/text_models.py --shared ../shared --bin target/release/m6

Language models: one trained on encyclopedia passages, one on headlines; perplexity of held-out texts of the same kind, of the same texts
with their characters shuffled, and of other kinds: listings of words from spam lists, developer forum, classical prose, reviews.
Classifiers: encyclopedia sentences against listings of words (8 in a row, as keyword pages have them, drawn from spam lists and from the
sentences themselves), and modern against classical Chinese. Controls: the same training with drawn labels, and length alone.
"""
import argparse, json, os, random, re, subprocess, tempfile


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


class Data:
    def __init__(self, shared, folder):
        self.data, self.folder = os.path.join(shared, "data"), folder

    def read(self, name):
        return rows(os.path.join(self.data, name + ".jsonl"))

    def write(self, name, lines):
        path = os.path.join(self.folder, name + ".txt")
        with open(path, "w", encoding="utf-8") as out:
            out.writelines(line.replace("\n", " ").strip() + "\n" for line in lines)
        return path

    def words_of_lists(self):
        words = []
        for name in sorted(os.listdir(os.path.join(self.data, "lists"))):
            if name.endswith(".txt") and "hosts" not in name:
                with open(os.path.join(self.data, "lists", name), encoding="utf-8", errors="ignore") as lines:
                    words += [line.strip() for line in lines if line.strip()]
        return words


def listings(words, n, rng):
    return [" ".join(rng.sample(words, 8)) for _ in range(n)]


def sentences(passages):
    found = [part.strip() for text in passages for part in re.split("(?<=[。！？])", text)]
    return [part for part in found if 15 <= len(part) <= 80]


def run(binary, *options):
    done = subprocess.run([binary, "corpus", *options, "--json", "--quiet"], capture_output=True, check=True)
    return json.loads(done.stdout)


def language_models(binary, data, rng):
    passages = data.write("passages", [row["context"] for row in data.read("qa/cmrc2018-dev")])
    headlines = data.write("headlines", [row["title"] for row in data.read("news/thucnews-titles")])
    others = [
        data.write("listings", listings(data.words_of_lists(), 2000, rng)),
        data.write("forum", [row["best_answer"] for row in data.read("qa/egret-forum")]),
        data.write("classical", [row["classical"] for row in data.read("classical/parallel")]),
        data.write("reviews", [row["review"] for row in data.read("ecommerce/reviews")]),
    ]
    for name, path in (("passages", passages), ("headlines", headlines)):
        model = os.path.join(data.folder, name + ".lm")
        row = run(binary, "train-lm", "--input", path, "--out", model, "--held-out", "0.1", "--against", *others)
        short = lambda of: {key: of[key] and round(of[key], 1) for key in ("texts", "perplexity", "median", "q95")}
        told = {"lm": name, "n_chars": row["n_chars"], "held_out": short(row["held_out"]), "shuffled": short(row["held_out_shuffled"])}
        told |= {os.path.basename(path)[:-4]: short(of) for path, of in row["against"].items()}
        print(json.dumps(told))


def classifiers(binary, data, rng):
    prose = sentences(row["context"] for row in data.read("qa/cmrc2018-dev"))
    pieces = [piece for text in prose for piece in re.split("[，。、；：！？“”《》（）]", text) if 2 <= len(piece) <= 5]
    parallel = data.read("classical/parallel")
    tasks = {
        "prose or words of spam lists": (prose, listings(data.words_of_lists(), len(prose), rng)),
        "prose or its own words": (prose, listings(sorted(set(pieces)), len(prose), rng)),
        "modern or classical": ([row["modern"] for row in parallel], [row["classical"] for row in parallel]),
    }
    for name, (good, bad) in tasks.items():
        good, bad = data.write("good", good), data.write("bad", bad)
        row = run(binary, "train-classifier", "--good", good, "--bad", bad, "--out", os.path.join(data.folder, "model.clf"))
        short = lambda of: {key: round(of[key], 4) for key in ("n", "accuracy", "auc")}
        controls = row["controls"]
        told = {"classifier": name, "held_out": short(row["held_out"]), "drawn_labels": short(controls["drawn_labels"])}
        told |= {key: round(controls[key], 4) for key in ("larger_class_accuracy", "length_auc")}
        print(json.dumps(told, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--bin", default="target/release/m6")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, rng = Data(args.shared, folder), random.Random(args.seed)
        language_models(args.bin, data, rng)
        classifiers(args.bin, data, rng)


if __name__ == "__main__":
    main()
