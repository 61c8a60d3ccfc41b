"""Headline classes by TF-IDF and a linear classifier: the peer of `m6 eval classify`, on the same held-out headlines.

    python bench/headlines.py thucnews-titles.jsonl RUN/eval/classify.references.jsonl [RUN/eval/classify.candidates.jsonl]

Needs scikit-learn. The held-out ids are those of the references that `m6 eval` wrote (`file:line`); everything else is learned from.
"""

import json
import sys
import time

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def show(name, labels, given, seconds):
    accuracy = accuracy_score(labels, given)
    macro = f1_score(labels, given, average="macro")
    print(f"{name:44} accuracy {accuracy:.4f}  macro F1 {macro:.4f}  {seconds:6.1f} s")


def main():
    headlines = read(sys.argv[1])
    references = read(sys.argv[2])
    held_out = {int(line["id"].rsplit(":", 1)[1]): line for line in references}
    train = [row for i, row in enumerate(headlines, 1) if i not in held_out]
    test = [headlines[i - 1] for i in held_out]
    labels = [line["label"] for line in held_out.values()]
    assert labels == [row["class"] for row in test], "the ids do not name lines of this file"
    print(f"{len(train)} headlines to learn from, {len(test)} held out")
    for name, model in [
        ("TF-IDF of 1-2 characters, logistic regression", LogisticRegression(C=10, max_iter=1000)),
        ("TF-IDF of 1-3 characters, linear SVM", LinearSVC(C=0.5)),
    ]:
        longest = 2 if isinstance(model, LogisticRegression) else 3
        features = TfidfVectorizer(analyzer="char", ngram_range=(1, longest), sublinear_tf=True)
        classifier = make_pipeline(features, model)
        start = time.time()
        classifier.fit([row["title"] for row in train], [row["class"] for row in train])
        given = classifier.predict([row["title"] for row in test])
        show(name, labels, given, time.time() - start)
    if len(sys.argv) > 3:
        given = {line["id"]: line["label"] for line in read(sys.argv[3])}
        show("m6", labels, [given[line["id"]] for line in references], 0.0)


if __name__ == "__main__":
    main()
