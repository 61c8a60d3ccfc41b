"""Writes crates/m6-model/tests/fixtures/model_heads.safetensors: the heads for matching and retrieval on the tiny M6 of model_prefix_lm.py.

Two verdicts (picture and text seen together), three pairs of picture alone and text alone of which two are of one group, and one text to
write. The file holds weights, inputs, the negative log-likelihood of every label, the loss, the gradient of every parameter, the
probability of each verdict and the vectors of the pairs.

    python reference/model_heads.py
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import model_prefix_lm as lm

E = 6
VERDICT, POOL_PICTURE, POOL_TEXT = 7, 8, 9
OUT = Path(__file__).resolve().parent.parent / "crates/m6-model/tests/fixtures/model_heads.safetensors"


class Flat:
    def __init__(self):
        self.tokens, self.positions, self.segments = [], [], []
        self.prefixes, self.targets, self.picture_at = [], [], []
        self.loss_at, self.labels = [], []

    def rows(self, tokens, segment):
        self.tokens += tokens
        self.positions += range(len(tokens))
        self.segments += [segment] * len(tokens)

    def sample(self, picture, source, target, segment, labels):
        start = len(self.tokens)
        if picture:
            self.picture_at.append(start)
            self.rows([0] * lm.GRID**2, 0)
        self.rows(source, 1)
        end = len(self.tokens)
        self.targets.append([len(self.prefixes), end, end + len(target)])
        self.prefixes.append([start, end])
        self.loss_at += range(end, end + len(target))
        self.labels += labels
        self.rows(target, segment)


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(11)
    w = lm.draw_weights(gen)
    w["heads.match.weight"] = torch.randn(2, lm.D, generator=gen) * 0.5
    for side in ["picture", "text"]:
        w[f"heads.contrastive.{side}.weight"] = torch.randn(E, lm.D, generator=gen) * 0.5
    w["heads.contrastive.log_scale"] = torch.tensor([1.7])
    w = {name: t.requires_grad_() for name, t in w.items()}

    words = lambda n: torch.randint(1, lm.VOCAB, (n,), generator=gen).tolist()
    flat = Flat()
    flat.sample(True, words(4), [2], VERDICT, [1])
    for group, n in [(7, 3), (9, 5), (7, 2)]:
        flat.sample(True, [], [2], POOL_PICTURE, [group])
        flat.sample(False, words(n), [2], POOL_TEXT, [group])
    flat.sample(True, [], words(3), 2, words(3))
    flat.sample(True, words(2), [2], VERDICT, [0])

    ints = lambda x: torch.tensor(x, dtype=torch.int32)
    pictures = torch.randint(256, (len(flat.picture_at), 3, lm.SIDE, lm.SIDE), generator=gen, dtype=torch.uint8)
    weights = torch.rand(len(flat.loss_at), generator=gen) / len(flat.loss_at)
    segments = ints(flat.segments).long()
    seen = torch.where(segments > 6, 2, segments)
    mask = lm.mask_of(len(flat.tokens), flat.prefixes, flat.targets)
    blocks, logits = lm.forward(
        w, ints(flat.tokens).long(), ints(flat.positions).long(), seen, pictures, flat.picture_at, mask
    )
    states = F.layer_norm(blocks[-1], (lm.D,), w["norm.weight"], w["norm.bias"], lm.EPS)

    at, labels = torch.tensor(flat.loss_at), torch.tensor(flat.labels)
    kind = segments[at]
    nll = torch.zeros(len(at))
    is_word, is_verdict = kind == 2, kind == VERDICT
    nll[is_word] = F.cross_entropy(logits[at[is_word]], labels[is_word], reduction="none")
    verdicts = F.linear(states[at[is_verdict]], w["heads.match.weight"])
    nll[is_verdict] = F.cross_entropy(verdicts, labels[is_verdict], reduction="none")
    side = lambda name, s: F.normalize(F.linear(states[at[kind == s]], w[f"heads.contrastive.{name}.weight"]), dim=1)
    p, t = side("picture", POOL_PICTURE), side("text", POOL_TEXT)
    groups = labels[kind == POOL_PICTURE]
    scale = w["heads.contrastive.log_scale"].clamp(max=math.log(100)).exp()
    same = (groups[:, None] == groups[None, :]) & ~torch.eye(len(groups), dtype=torch.bool)
    cosines = (scale * p @ t.T).masked_fill(same, float("-inf"))
    own = torch.arange(len(groups))
    nll[kind == POOL_PICTURE] = F.cross_entropy(cosines, own, reduction="none")
    nll[kind == POOL_TEXT] = F.cross_entropy(cosines.T, own, reduction="none")
    loss = (nll * weights).sum()
    loss.backward()

    out = {f"weights.{n}": x.detach().contiguous() for n, x in w.items()}
    out |= {f"grads.{n}": x.grad.contiguous() for n, x in w.items()}
    out |= {"tokens": ints(flat.tokens), "positions": ints(flat.positions), "segments": ints(flat.segments)}
    out |= {"prefixes": ints(flat.prefixes), "targets": ints(flat.targets), "picture_at": ints(flat.picture_at)}
    out |= {"loss_at": ints(flat.loss_at), "labels": ints(flat.labels), "loss_weights": weights, "pictures": pictures}
    out |= {"nll": nll.detach(), "loss": loss.detach().reshape(1), "p": p.detach(), "t": t.detach()}
    out["verdicts"] = verdicts.softmax(1)[:, 1].detach()
    save_file({n: x.contiguous().clone() for n, x in out.items()}, OUT)
    print(OUT, OUT.stat().st_size, "bytes, loss", loss.item())


if __name__ == "__main__":
    main()
