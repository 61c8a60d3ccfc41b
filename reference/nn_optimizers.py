"""Fixtures of the optimizers of m6-nn that PyTorch does not have: Adafactor and the 8-bit numbers of moments.

Run from the repository root with a Python that has torch (CPU), numpy and safetensors:

    python reference/nn_optimizers.py

Writes crates/m6-nn/tests/fixtures/optimizers.safetensors. `adafactor_step` is the update of transformers'
`Adafactor(scale_parameter=False, relative_step=False, beta1=None, clip_threshold=1.0, decay_rate=-0.8, eps=(1e-30, 1e-3))`, written
out; `dynamic_map` is bitsandbytes' `create_dynamic_map(signed, max_exponent_bits=7, total_bits=8)`, written out.
Everything is float32 and drawn from a fixed seed.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[1] / "crates/m6-nn/tests/fixtures/optimizers.safetensors"
LR, DECAY_RATE, EPS, CLIP, WEIGHT_DECAY = 3e-2, -0.8, 1e-30, 1.0, 0.1
N_STEPS = 4

torch.manual_seed(11)
torch.set_num_threads(1)
fixtures: dict[str, torch.Tensor] = {}


def keep(name: str, tensor: torch.Tensor) -> None:
    assert name not in fixtures
    fixtures[name] = tensor.detach().contiguous().clone()


def adafactor_step(p: torch.Tensor, grad: torch.Tensor, state: dict, lr: float, weight_decay: float) -> None:
    state["step"] = state.get("step", 0) + 1
    beta2t = 1.0 - state["step"] ** DECAY_RATE
    square = grad**2 + EPS
    if grad.dim() >= 2:
        row = state.setdefault("row", torch.zeros(grad.shape[:-1]))
        col = state.setdefault("col", torch.zeros(grad.shape[:-2] + grad.shape[-1:]))
        row.mul_(beta2t).add_(square.mean(dim=-1), alpha=1.0 - beta2t)
        col.mul_(beta2t).add_(square.mean(dim=-2), alpha=1.0 - beta2t)
        r_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt().unsqueeze(-1)
        update = torch.mul(r_factor, col.unsqueeze(-2).rsqrt()).mul(grad)
    else:
        full = state.setdefault("full", torch.zeros_like(grad))
        full.mul_(beta2t).add_(square, alpha=1.0 - beta2t)
        update = full.rsqrt().mul(grad)
    rms = update.norm(2) / update.numel() ** 0.5
    update.div_((rms / CLIP).clamp(min=1.0)).mul_(lr)
    p.add_(p, alpha=-weight_decay * lr)
    p.add_(-update)


def adafactor() -> None:
    """Four steps, gradients halved: a matrix and a vector (without gradient in step 2, not decayed), stacked matrices, each a parameter
    of its own, and filters, a row each; the gradients of step 3 are so large that the update is clipped."""
    shapes = {"a": (6, 5), "b": (5,), "e": (3, 4, 5), "f": (4, 3, 2, 2)}
    parts = {"e": lambda x: list(x), "f": lambda x: [x.reshape(4, 12)]}
    values = {name: torch.randn(shape) for name, shape in shapes.items()}
    states: dict[tuple[str, int], dict] = {}
    for name, value in values.items():
        keep(f"adafactor.{name}0", value)
    for step in range(1, N_STEPS + 1):
        for name, value in values.items():
            grad = torch.randn(shapes[name]) * (50 if step == 3 else 1)
            keep(f"adafactor.g{name}{step}", grad)
            cut = parts.get(name, lambda x: [x])
            if (step, name) != (2, "b"):
                for i, (p, g) in enumerate(zip(cut(value), cut(grad * 0.5))):
                    weight_decay = 0.0 if name == "b" else WEIGHT_DECAY
                    adafactor_step(p, g, states.setdefault((name, i), {}), LR / step, weight_decay)
            keep(f"adafactor.{name}{step}", value)


def dynamic_map(signed: bool) -> torch.Tensor:
    data = []
    for i in range(7):
        n_boundaries = 2**i + 1 if signed else 2 ** (i + 1) + 1
        boundaries = torch.linspace(0.1, 1, n_boundaries, dtype=torch.float32)
        means = (boundaries[:-1] + boundaries[1:]) / 2.0
        data += (10 ** (-6 + i) * means).tolist()
        if signed:
            data += (-(10 ** (-6 + i)) * means).tolist()
    data += [0, 1.0]
    assert len(data) == 256
    return torch.tensor(sorted(data), dtype=torch.float32)


def quantised() -> None:
    """A block of each map with its codes, found by looking at every code; numbers halfway between two codes are left out."""
    for name, signed in [("signed", True), ("unsigned", False)]:
        codes = dynamic_map(signed)
        keep(f"map.{name}", codes)
        numbers = torch.randn(2000) * 10 ** (torch.rand(2000) * 6 - 6)
        numbers = numbers if signed else numbers.abs()
        numbers[0] = 3.7
        shares = numbers / numbers.abs().max()
        nearest, index = (shares[:, None] - codes).abs().sort(dim=1)
        clear = (nearest[:, 1] - nearest[:, 0]) > 1e-3 * nearest[:, 1]
        # The smallest are not rounded to 0 (ours, of second moments).
        clear &= (index[:, 0] != 0) if not signed else True
        keep(f"{name}.numbers", numbers[clear][:256])
        keep(f"{name}.codes", index[clear][:256, 0].to(torch.int64))


adafactor()
quantised()
OUT.parent.mkdir(parents=True, exist_ok=True)
save_file(fixtures, OUT)
print(f"{OUT.name}: {len(fixtures)} tensors, {OUT.stat().st_size} bytes")
