"""Writes crates/m6-model/tests/fixtures/model_experts.safetensors: the tiny M6 of model_prefix_lm.py with four experts in place of each feed-forward
layer, in plain PyTorch: top-1, gates by softmax, room for `ceil(n * 1.25 / 4)` tokens an expert in training, first come first served, what
finds no room goes by on the residual path; balance loss (Switch) and z loss.

    python reference/model_experts.py

The stream after each block and the logits are those of a model that drops nothing. Loss and gradients are those of training, where the last
block is run at the rows that have a label, so that its experts see and refuse those alone.
"""

import math

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import model_prefix_lm as lm

E, FACTOR, LEAST, BALANCE, Z = 4, 1.25, 2, 0.01, 0.001
OUT = lm.OUT.parent / "model_experts.safetensors"


def draw_weights(gen):
    w = lm.draw_weights(gen)
    normal = lambda *shape: torch.randn(*shape, generator=gen) * 0.2
    for i in range(lm.LAYERS):
        for name in ["up", "down"]:
            del w[f"blocks.{i}.ffn.{name}.weight"], w[f"blocks.{i}.ffn.{name}.bias"]
        at = f"blocks.{i}.moe"
        # Wide enough that choices are clear, and uneven, so that some experts overflow.
        w[f"{at}.router.weight"] = 5 * normal(E, lm.D)
        w[f"{at}.up.weight"], w[f"{at}.up.bias"] = normal(E, lm.FF, lm.D), normal(E, lm.FF)
        w[f"{at}.down.weight"], w[f"{at}.down.bias"] = normal(E, lm.D, lm.FF), normal(E, lm.D)
    return w


def experts(w, at, x, drops):
    """Rows after the experts, the router's losses, and how many tokens found no room."""
    logits = x @ w[f"{at}.router.weight"].T
    probs = logits.softmax(-1)
    choice = probs.argmax(-1)
    room = max(LEAST, math.ceil(len(x) * FACTOR / E)) if drops else len(x)
    y, n_dropped = torch.zeros_like(x), 0
    for e in range(E):
        rows = (choice == e).nonzero().flatten()
        n_dropped += max(0, len(rows) - room)
        rows = rows[:room]
        h = F.gelu(F.linear(x[rows], w[f"{at}.up.weight"][e], w[f"{at}.up.bias"][e]))
        out = F.linear(h, w[f"{at}.down.weight"][e], w[f"{at}.down.bias"][e])
        y = y.index_add(0, rows, out * probs[rows, e : e + 1])
    share = F.one_hot(choice, E).float().mean(0)
    balance = E * (share * probs.mean(0)).sum()
    z = logits.logsumexp(-1).square().mean()
    return y, BALANCE * balance + Z * z, n_dropped


def run(w, batch, drops, keep):
    """Stream after each block, the rows that are kept of the last one after the last norm, the routers' loss."""
    x, mask = lm.embed(w, *batch[:5]), batch[5]
    blocks, own, n_dropped = [], 0.0, []
    for i in range(lm.LAYERS):
        p = lambda name: (w[f"blocks.{i}.{name}.weight"], w[f"blocks.{i}.{name}.bias"])
        q, k, v = F.linear(F.layer_norm(x, (lm.D,), *p("ln1"), lm.EPS), *p("attn.qkv")).chunk(3, dim=1)
        heads = lambda t: t.view(-1, lm.HEADS, lm.D // lm.HEADS).transpose(0, 1)
        scores = heads(q) @ heads(k).transpose(1, 2) / math.sqrt(lm.D // lm.HEADS)
        probs = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        x = x + F.linear((probs @ heads(v)).transpose(0, 1).reshape(-1, lm.D), *p("attn.out"))
        if keep is not None and i + 1 == lm.LAYERS:
            x = x[keep]
        h, loss, dropped = experts(w, f"blocks.{i}.moe", F.layer_norm(x, (lm.D,), *p("ln2"), lm.EPS), drops)
        x, own = x + h, own + loss
        n_dropped.append(dropped)
        blocks.append(x)
    logits = F.layer_norm(x, (lm.D,), w["norm.weight"], w["norm.bias"], lm.EPS) @ w["embed.tokens"].T
    return blocks, logits, own, n_dropped


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(11)
    w = {name: t.requires_grad_() for name, t in draw_weights(gen).items()}
    tokens, positions, segments, prefixes, targets, picture_at, loss_at = lm.pack(gen)
    pictures = torch.randint(256, (len(picture_at), 3, lm.SIDE, lm.SIDE), generator=gen, dtype=torch.uint8)
    labels = torch.randint(lm.VOCAB, (len(loss_at),), generator=gen)
    weights = torch.rand(len(loss_at), generator=gen) / len(loss_at)
    ints = lambda x: torch.tensor(x, dtype=torch.int32)
    mask = lm.mask_of(len(tokens), prefixes, targets)
    batch = (ints(tokens).long(), ints(positions).long(), ints(segments).long(), pictures, picture_at, mask)

    with torch.no_grad():
        blocks, logits, _, n_dropped = run(w, batch, False, None)
        assert n_dropped == [0, 0]
    _, kept, own, n_dropped = run(w, batch, True, loss_at)
    assert all(n > 0 for n in n_dropped), n_dropped
    nll = F.cross_entropy(kept, labels, reduction="none")
    # The routers' loss counts as much as the labels of the batch do together.
    loss = (nll * weights).sum() + own * weights.sum()
    loss.backward()

    out = lm.record(w, blocks, (tokens, positions, segments, prefixes, targets, picture_at, loss_at), pictures, labels, weights)
    out |= {"logits": logits.detach().contiguous(), "nll": nll.detach(), "loss": loss.detach().reshape(1)}
    out |= {"n_dropped": ints(n_dropped)}
    save_file(out, OUT)
    print(OUT, OUT.stat().st_size, "bytes, loss", loss.item(), "dropped", n_dropped)


if __name__ == "__main__":
    main()
