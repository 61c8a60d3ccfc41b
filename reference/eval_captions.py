"""Writes crates/m6-eval/tests/fixtures/captions.json: small and odd caption sets with the scores
that pycocoevalcap 1.2 gives them. Run from the repository root: python reference/eval_captions.py"""
import contextlib
import io
import json

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

SETS = {
    "one item": [("狗 在 跑", ["一 只 狗 在 跑", "狗"])],
    "empty candidate": [("", ["一 只 狗"]), ("猫 坐", ["猫 坐 着", "一 只 猫"])],
    "empty reference among others": [("a b c d", ["a b c d", ""]), ("e", ["f"])],
    "repetition": [("a a a a a a", ["a b a c", "a a"]), ("b b", ["b"]), ("c d e f", ["c d f e"])],
    "length ties": [("a b c d", ["a b c", "a b c d e"]), ("x y", ["x y z w v", "x"])],
    "long against short": [(" ".join("abcdefghijklmnop"), ["a b", "p o"]), ("q", ["q r s t u v"])],
    "words of many letters": [("the red Dog", ["the red dog", "The red Dog !"]), ("t", ["t"])],
}


def score(pairs):
    gts = {i: refs for i, (_, refs) in enumerate(pairs)}
    res = {i: [cand] for i, (cand, _) in enumerate(pairs)}
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, bleus = Bleu(4).compute_score(gts, res)
        rouge, rouges = Rouge().compute_score(gts, res)
        cider, ciders = Cider().compute_score(gts, res)
    items = [
        {"candidate": cand, "references": refs, "bleu": [b[i] for b in bleus],
         "rouge_l": float(rouges[i]), "cider": float(ciders[i])}
        for i, (cand, refs) in enumerate(pairs)
    ]
    return {"bleu": bleu, "rouge_l": float(rouge), "cider": float(cider), "items": items}


sets = {name: score(pairs) for name, pairs in SETS.items()}
with open("crates/m6-eval/tests/fixtures/captions.json", "w", encoding="utf-8") as out:
    json.dump(sets, out, ensure_ascii=False, indent=1)
    out.write("\n")
