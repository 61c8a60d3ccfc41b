"""PyTorch fixtures for the core operators of m6-nn: forward, gradients, and three AdamW steps.

Run from the repository root with a Python that has torch (CPU), numpy and safetensors:

    python reference/nn_core.py

Writes crates/m6-nn/tests/fixtures/core.safetensors. Everything is float32 and drawn from a fixed seed.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[1] / "crates/m6-nn/tests/fixtures/core.safetensors"
NONE = 2**32 - 1

torch.manual_seed(7)
torch.set_num_threads(1)
fixtures: dict[str, torch.Tensor] = {}


def keep(case: str, **tensors: torch.Tensor) -> None:
    for name, tensor in tensors.items():
        assert f"{case}.{name}" not in fixtures
        tensor = tensor.detach()
        tensor = tensor if tensor.is_floating_point() else tensor.to(torch.int64)
        fixtures[f"{case}.{name}"] = tensor.contiguous().clone()


def leaf(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(*shape) * scale).requires_grad_()


def run(case: str, y: torch.Tensor, **leaves: torch.Tensor) -> None:
    """Keeps the result, a random gradient of it, the leaves and their gradients."""
    grad = torch.randn_like(y)
    y.backward(grad)
    keep(case, y=y, grad=grad)
    for name, tensor in leaves.items():
        keep(case, **{name: tensor, f"d{name}": tensor.grad})


def linear() -> None:
    acts = {"none": lambda u: u, "gelu": F.gelu, "relu": F.relu}
    for name, act in acts.items():
        x, w, b = leaf(19, 24), leaf(33, 24, scale=0.5), leaf(33)
        run(f"linear_{name}", act(F.linear(x, w, b)), x=x, w=w, b=b)
    x, w = leaf(2, 3, 8), leaf(5, 8)
    run("linear_no_bias", F.linear(x, w), x=x, w=w)


def gelu() -> None:
    """The activation alone over its whole range, large magnitudes included."""
    x = torch.linspace(-12, 12, 481).reshape(-1, 1).requires_grad_()
    w = torch.ones(1, 1, requires_grad=True)
    run("gelu_range", F.gelu(F.linear(x, w)), x=x, w=w)


def layer_norm() -> None:
    x, w, b = leaf(140, 40, scale=3.0), leaf(40), leaf(40)
    run("layer_norm", F.layer_norm(x, (40,), w, b, eps=1e-5), x=x, w=w, b=b)


def embed() -> None:
    tokens, segments = leaf(30, 12), leaf(3, 12)
    ids = torch.randint(0, 30, (40,))
    parts = torch.randint(0, 3, (40,))
    parts[5] = parts[17] = NONE
    seen = (parts != NONE).unsqueeze(1)
    y = tokens[ids] + segments[torch.where(parts == NONE, 0, parts)] * seen
    run("embed", y, tokens=tokens, segments=segments)
    keep("embed", ids=ids, parts=parts)


def rows() -> None:
    x, extra = leaf(20, 6), leaf(4, 6)
    at = torch.tensor([3, 19, 0, 7])
    run("select_rows", x[at], x=x)
    x = leaf(20, 6)
    run("scatter_rows", x.index_add(0, at, extra), x=x, rows=extra)
    keep("rows", at=at)


def head_ce() -> None:
    for name, smoothing, biased in [("plain", 0.0, False), ("smooth", 0.1, True)]:
        m, d, v = 23, 16, 101
        h, w, bias = leaf(m, d), leaf(v, d), leaf(v)
        labels = torch.randint(0, v, (m,))
        weights = torch.rand(m) / m
        logits = F.linear(h, w, bias if biased else None)
        ce = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        nll = F.cross_entropy(logits, labels, reduction="none")
        leaves = dict(h=h, w=w, bias=bias) if biased else dict(h=h, w=w)
        run(f"head_ce_{name}", (ce * weights).sum(), **leaves)
        keep(f"head_ce_{name}", labels=labels, weights=weights, nll=nll)


def adamw() -> None:
    """Three steps of two parameters, one decayed and one not; the second has no gradient in step 2; gradients are halved (clipping)."""
    a, b = leaf(6, 5), leaf(5)
    groups = [dict(params=[a], weight_decay=0.1), dict(params=[b], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.98), eps=1e-6)
    keep("adamw", a0=a, b0=b)
    for step in range(1, 4):
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 3e-3 / step
        ga, gb = torch.randn(6, 5), torch.randn(5)
        a.grad, b.grad = ga * 0.5, (None if step == 2 else gb * 0.5)
        optimizer.step()
        keep("adamw", **{f"ga{step}": ga, f"gb{step}": gb, f"a{step}": a, f"b{step}": b})


def muon() -> None:
    """Three steps of a wide and a tall matrix, gradients halved. PyTorch iterates in bfloat16; here the cast is taken out."""
    a, b = leaf(4, 7), leaf(6, 3)
    groups = [dict(params=[a], weight_decay=0.1), dict(params=[b], weight_decay=0.0)]
    optimizer = torch.optim.Muon(groups, lr=3e-2, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    keep("muon", a0=a, b0=b)
    cast, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, lambda x: x.clone()
    for step in range(1, 4):
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 3e-2 / step
        ga, gb = torch.randn(4, 7), torch.randn(6, 3)
        a.grad, b.grad = ga * 0.5, gb * 0.5
        optimizer.step()
        keep("muon", **{f"ga{step}": ga, f"gb{step}": gb, f"a{step}": a, f"b{step}": b})
    torch.Tensor.bfloat16 = cast


for case in (linear, gelu, layer_norm, embed, rows, head_ce, adamw, muon):
    case()
OUT.parent.mkdir(parents=True, exist_ok=True)
save_file(fixtures, OUT)
print(f"{OUT.name}: {len(fixtures)} tensors, {OUT.stat().st_size} bytes")
