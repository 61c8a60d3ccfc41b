"""Writes the PyTorch reference values of the attention, convolution and normalisation operators of m6-nn.

Usage: python reference/nn_spatial.py [output folder]   (default crates/m6-nn/tests/fixtures)

Each file holds inputs, parameters, the output, an upstream gradient and every gradient PyTorch gets from it. Everything is
computed in float64 and rounded once, so that the fixture is nearer to the truth than either implementation.
"""
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "crates/m6-nn/tests/fixtures")
torch.manual_seed(20210301)


def leaf(*shape, scale=1.0, shift=0.0):
    """A random input, exactly representable in float32, that collects its gradient in float64."""
    value = (torch.randn(*shape) * scale + shift).double()
    return value.requires_grad_()


def write(name, y, leaves, extra=None):
    """Runs the backward pass from a random upstream gradient and saves everything under `name`."""
    dy = torch.randn(y.shape).double()
    y.backward(dy)
    tensors = {"y": y.detach(), "dy": dy}
    for key, value in leaves.items():
        tensors[key] = value.detach()
        tensors["d" + key] = value.grad
    tensors = {key: value.float().contiguous() for key, value in tensors.items()}
    tensors.update(extra or {})
    path = OUT / f"{name}.safetensors"
    save_file(tensors, path)
    print(f"{path}: {path.stat().st_size} bytes")


def packed_mask(n_tokens, prefixes, targets):
    """The mask of packed samples, from its definition: True where the query (row) sees the key (column)."""
    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    for start, end in prefixes:
        mask[start:end, start:end] = True
    for sample, start, end in targets:
        p_start, p_end = prefixes[sample]
        mask[start:end, p_start:p_end] = True
        for i in range(start, end):
            mask[i, start : i + 1] = True
    return mask


def attention(name, n_heads, d_model, prefixes, targets):
    n = max([p[1] for p in prefixes] + [t[2] for t in targets])
    qkv = leaf(n, 3 * d_model)
    q, k, v = qkv.view(n, 3, n_heads, d_model // n_heads).permute(1, 2, 0, 3)
    mask = packed_mask(n, prefixes, targets)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).permute(1, 0, 2).reshape(n, d_model)
    spans = {
        "prefixes": torch.tensor(prefixes, dtype=torch.int64).reshape(-1, 2),
        "targets": torch.tensor(targets, dtype=torch.int64).reshape(-1, 3),
        "n_heads": torch.tensor([n_heads], dtype=torch.int64),
    }
    write(name, y, {"qkv": qkv}, spans)


def conv(name, n, c_in, c_out, side, k, stride, pad, bias=True):
    """`k` and `pad` are one number for both axes, or two."""
    pair = k if isinstance(k, tuple) else (k, k)
    x = leaf(n, c_in, *side)
    leaves = {"x": x, "w": leaf(c_out, c_in, *pair, scale=(c_in * pair[0] * pair[1]) ** -0.5)}
    if bias:
        leaves["b"] = leaf(c_out)
    y = F.conv2d(x, leaves["w"], leaves.get("b"), stride, pad)
    write(name, y, leaves, {"geometry": torch.tensor([stride, *(pad if isinstance(pad, tuple) else (pad,))], dtype=torch.int64)})


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    # A prefix shared by three targets, one of them apart from it; an empty prefix; a prefix alone; samples out of order; a target
    # longer than a block of 64 queries.
    attention(
        "attention_packed",
        n_heads=2,
        d_model=16,
        prefixes=[[0, 9], [9, 9], [20, 27], [34, 40]],
        targets=[[0, 15, 20], [1, 9, 15], [0, 27, 34], [3, 40, 118], [0, 118, 119]],
    )
    attention("attention_causal", n_heads=4, d_model=32, prefixes=[[0, 0], [70, 70]], targets=[[0, 0, 70], [1, 70, 100]])
    conv("conv_3x3", 2, 5, 6, (11, 10), 3, 1, 1)
    conv("conv_3x3_wide", 2, 17, 16, (7, 6), 3, 1, 1)
    conv("conv_3x3_stride2", 2, 4, 6, (9, 12), 3, 2, 1)
    conv("conv_7x7_stride2", 2, 3, 4, (17, 15), 7, 2, 3)
    conv("conv_1x1", 2, 6, 5, (5, 7), 1, 1, 0, bias=False)
    conv("conv_1x1_stride2", 2, 6, 5, (6, 7), 1, 2, 0)
    conv("conv_2x2_stride2", 1, 3, 4, (6, 8), 2, 2, 0)

    x, w, b = leaf(2, 8, 5, 6, shift=0.5), leaf(8, scale=0.3, shift=1.0), leaf(8)
    write("group_norm_silu", F.silu(F.group_norm(x, 4, w, b, 1e-5)), {"x": x, "w": w, "b": b})
    x = leaf(2, 3, 9, 8)
    write("max_pool2d", F.max_pool2d(x, 3, 2, 1), {"x": x})
    x = leaf(2, 3, 4, 5)
    write("global_avg_pool", x.mean((2, 3)), {"x": x})
    x = leaf(2, 3, 4, 5)
    write("up2", F.interpolate(x, scale_factor=2.0, mode="nearest"), {"x": x})
    x = leaf(2, 3, 4, 5)
    write("relu", F.relu(x), {"x": x})
    x = leaf(2, 3, 4, 5)
    write("nchw_to_rows", x.permute(0, 2, 3, 1).reshape(-1, 3), {"x": x})
    # Later operators come last, so that the random numbers of the earlier ones stay as they are.
    conv("conv_4x4_stride2", 2, 3, 5, (8, 10), 4, 2, 1)
    x, w, b = leaf(2, 8, 5, 6, shift=0.5), leaf(8, scale=0.3, shift=1.0), leaf(8)
    write("group_norm", F.group_norm(x, 4, w, b, 1e-5), {"x": x, "w": w, "b": b})
    conv("conv_1x7", 2, 5, 6, (6, 9), (1, 7), 1, (0, 3))
    conv("conv_7x1", 2, 5, 4, (9, 6), (7, 1), 1, (3, 0))
    conv("conv_3x5_stride2", 2, 3, 4, (9, 8), (3, 5), 2, (0, 2))
    x = leaf(2, 3, 7, 6)
    write("avg_pool2d", F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), {"x": x})


main()
