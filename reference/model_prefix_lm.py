"""Writes crates/m6-model/tests/fixtures/model_prefix_lm.safetensors: a tiny M6 in plain PyTorch.

Two layers, pictures as linear patches, four samples packed into one row: picture with two captions that share the prefix,
picture + source -> target, source -> target, target only. Weights are drawn here under the names the crate uses; the file holds
them with the inputs, the stream after each block, the logits, the loss and the gradient of every parameter.

    python reference/model_prefix_lm.py
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

D, LAYERS, HEADS, FF, VOCAB, MAX_LEN = 16, 2, 2, 32, 23, 12
GRID, SIDE, EPS = 2, 8, 1e-5
OUT = Path(__file__).resolve().parent.parent / "crates/m6-model/tests/fixtures/model_prefix_lm.safetensors"


def draw_weights(gen):
    def normal(*shape, std=0.2):
        return torch.randn(*shape, generator=gen) * std

    w = {
        "embed.tokens": normal(VOCAB, D),
        "embed.positions": normal(MAX_LEN, D),
        "embed.patch_positions": normal(GRID * GRID, D),
        "embed.segments": normal(3, D),
        "patches.proj.weight": normal(D, 3 * (SIDE // GRID) ** 2),
        "patches.proj.bias": normal(D),
        "norm.weight": 1 + normal(D),
        "norm.bias": normal(D),
    }
    for i in range(LAYERS):
        for name, n_out, n_in in [("attn.qkv", 3 * D, D), ("attn.out", D, D), ("ffn.up", FF, D), ("ffn.down", D, FF)]:
            w[f"blocks.{i}.{name}.weight"] = normal(n_out, n_in)
            w[f"blocks.{i}.{name}.bias"] = normal(n_out)
        for name in ["ln1", "ln2"]:
            w[f"blocks.{i}.{name}.weight"] = 1 + normal(D)
            w[f"blocks.{i}.{name}.bias"] = normal(D)
    return w


def pack(gen):
    """Flat arrays of four samples; (n_pictures, source length, target lengths) each."""
    tokens, positions, segments, prefixes, targets, picture_at, loss_at = [], [], [], [], [], [], []
    for n_pictures, n_source, target_lengths in [(1, 0, [4, 3]), (1, 3, [5]), (0, 4, [2]), (0, 0, [6])]:
        start = len(tokens)
        for _ in range(n_pictures):
            picture_at.append(len(tokens))
            tokens += [0] * GRID**2
            positions += range(GRID**2)
            segments += [0] * GRID**2
        tokens += torch.randint(VOCAB, (n_source,), generator=gen).tolist()
        positions += range(n_source)
        segments += [1] * n_source
        prefixes.append([start, len(tokens)])
        for n in target_lengths:
            targets.append([len(prefixes) - 1, len(tokens), len(tokens) + n])
            loss_at += range(len(tokens), len(tokens) + n)
            tokens += torch.randint(VOCAB, (n,), generator=gen).tolist()
            positions += range(n)
            segments += [2] * n
    return tokens, positions, segments, prefixes, targets, picture_at, loss_at


def mask_of(n, prefixes, targets):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for a, b in prefixes:
        mask[a:b, a:b] = True
    for p, a, b in targets:
        mask[a:b, prefixes[p][0] : prefixes[p][1]] = True
        mask[a:b, a:b] |= torch.ones(b - a, b - a).tril().bool()
    return mask


def embed(w, tokens, positions, segments, pictures, picture_at):
    x = torch.zeros(len(tokens), D)
    is_patch = segments == 0
    x[~is_patch] = w["embed.tokens"][tokens[~is_patch]] + w["embed.positions"][positions[~is_patch]]
    x[is_patch] = w["embed.patch_positions"][positions[is_patch]]
    x = x + w["embed.segments"][segments]
    cell = SIDE // GRID
    pixels = pictures.float() / 127.5 - 1
    cells = pixels.unfold(2, cell, cell).unfold(3, cell, cell)  # k 3 g g c c
    cells = cells.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * cell * cell)
    rows = F.linear(cells, w["patches.proj.weight"], w["patches.proj.bias"])
    at = torch.tensor([first + j for first in picture_at for j in range(GRID**2)])
    return x.index_add(0, at, rows)


def forward(w, tokens, positions, segments, pictures, picture_at, mask):
    x = embed(w, tokens, positions, segments, pictures, picture_at)
    blocks = []
    for i in range(LAYERS):
        p = lambda name: (w[f"blocks.{i}.{name}.weight"], w[f"blocks.{i}.{name}.bias"])
        q, k, v = F.linear(F.layer_norm(x, (D,), *p("ln1"), EPS), *p("attn.qkv")).chunk(3, dim=1)
        heads = lambda t: t.view(-1, HEADS, D // HEADS).transpose(0, 1)
        scores = heads(q) @ heads(k).transpose(1, 2) / math.sqrt(D // HEADS)
        probs = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        x = x + F.linear((probs @ heads(v)).transpose(0, 1).reshape(-1, D), *p("attn.out"))
        h = F.gelu(F.linear(F.layer_norm(x, (D,), *p("ln2"), EPS), *p("ffn.up")))
        x = x + F.linear(h, *p("ffn.down"))
        blocks.append(x)
    logits = F.layer_norm(x, (D,), w["norm.weight"], w["norm.bias"], EPS) @ w["embed.tokens"].T
    return blocks, logits


def record(w, blocks, arrays, pictures, labels, loss_weights):
    """What both fixtures hold: weights and their gradients, the stream after each block, and the batch."""
    names = ["tokens", "positions", "segments", "prefixes", "targets", "picture_at", "loss_at"]
    out = {f"weights.{n}": t.detach().contiguous() for n, t in w.items()}
    out |= {f"grads.{n}": t.grad.contiguous() for n, t in w.items()}
    out |= {f"blocks.{i}": x.detach().contiguous() for i, x in enumerate(blocks)}
    out |= {name: torch.tensor(array, dtype=torch.int32) for name, array in zip(names, arrays)}
    return out | {"labels": labels.int(), "loss_weights": loss_weights, "pictures": pictures}


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(7)
    w = {name: t.requires_grad_() for name, t in draw_weights(gen).items()}
    tokens, positions, segments, prefixes, targets, picture_at, loss_at = pack(gen)
    pictures = torch.randint(256, (len(picture_at), 3, SIDE, SIDE), generator=gen, dtype=torch.uint8)
    labels = torch.randint(VOCAB, (len(loss_at),), generator=gen)
    weights = torch.rand(len(loss_at), generator=gen) / len(loss_at)
    ints = lambda x: torch.tensor(x, dtype=torch.int32)

    mask = mask_of(len(tokens), prefixes, targets)
    blocks, logits = forward(
        w, ints(tokens).long(), ints(positions).long(), ints(segments).long(), pictures, picture_at, mask
    )
    nll = F.cross_entropy(logits[loss_at], labels, reduction="none")
    loss = (nll * weights).sum()
    loss.backward()

    out = record(w, blocks, (tokens, positions, segments, prefixes, targets, picture_at, loss_at), pictures, labels, weights)
    out |= {"logits": logits.detach().contiguous(), "nll": nll.detach(), "loss": loss.detach().reshape(1)}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(out, OUT)
    print(OUT, OUT.stat().st_size, "bytes, loss", loss.item())


if __name__ == "__main__":
    main()
