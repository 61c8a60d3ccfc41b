"""Fixtures of routing to experts for m6-nn, made by the published implementations themselves, on the CPU:

- `deepspeed.moe.sharded_moe.top1gating` and `top2gating`, DeepSpeed 0.17.5;
- `mixture_of_experts.Top2Gating`, lucidrains' mixture-of-experts 0.2.3.

Run from the repository root with a Python that has torch (CPU), numpy, safetensors and those two:

    pip install deepspeed==0.17.5 mixture-of-experts==0.2.3
    python reference/nn_experts.py

Writes crates/m6-nn/tests/fixtures/experts.safetensors. Both give a tensor [tokens, experts, places] of combine weights; this script
multiplies it with the experts' feed-forward networks in plain PyTorch and lets autograd find the gradients. What is drawn at random in
them (DeepSpeed's Gumbel noise, lucidrains' random policy) is off, DeepSpeed's random priorities of top-1 are made to fall with the place
of a token (without them its `topk` breaks ties as it likes), and lucidrains' policy "threshold" stops with
an error of shapes in that version: only rules that can be compared are.
Everything is float32 and drawn from a fixed seed.
"""

from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from deepspeed.moe import sharded_moe
from deepspeed.moe.sharded_moe import top1gating, top2gating
from mixture_of_experts.mixture_of_experts import Top2Gating
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[1] / "crates/m6-nn/tests/fixtures/experts.safetensors"
N, D, H, E = 64, 12, 16, 8
# The balance loss enters the loss that gradients are taken of with this weight.
BALANCE = 0.37

assert version("deepspeed") == "0.17.5" and version("mixture-of-experts") == "0.2.3"
torch.manual_seed(11)
torch.set_num_threads(1)
fixtures: dict[str, torch.Tensor] = {}


def leaf(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(*shape) * scale).requires_grad_()


def case(name: str, gate, n: int = N) -> None:
    """`gate(x, router)` gives the balance loss and combine weights [n, e, c]; keeps results and gradients."""
    leaves = {
        "x": leaf(n, D),
        # Wide enough that some experts overflow.
        "router": leaf(E, D, scale=0.6),
        "up": leaf(E, H, D, scale=0.4),
        "up_bias": leaf(E, H, scale=0.4),
        "down": leaf(E, D, H, scale=0.4),
        "down_bias": leaf(E, D, scale=0.4),
    }
    x, router, up, up_bias, down, down_bias = leaves.values()
    balance, combine = gate(x, router)
    inside = torch.einsum("sec,sm->ecm", (combine > 0).float(), x)
    hidden = F.gelu(torch.einsum("ecm,ehm->ech", inside, up) + up_bias[:, None])
    outside = torch.einsum("ech,emh->ecm", hidden, down) + down_bias[:, None]
    y = torch.einsum("sec,ecm->sm", combine, outside)
    grad = torch.randn_like(y)
    ((y * grad).sum() + BALANCE * balance).backward()
    gates = combine.sum(-1)
    kept = {"y": y, "grad": grad, "balance": balance, "gates": gates, "places": (combine > 0).float().argmax(-1)}
    for key, tensor in {**kept, **leaves, **{f"d{key}": tensor.grad for key, tensor in leaves.items()}}.items():
        tensor = tensor.detach()
        fixtures[f"{name}.{key}"] = (tensor if tensor.is_floating_point() else tensor.to(torch.int64)).contiguous().clone()
    n_choices = 1 if "top1" in name else 2
    print(f"{name}: {int((gates > 0).sum())} of {n * n_choices} choices kept, balance {balance.item():.4f}")


def deepspeed_top1(factor: float, least: int):
    def falling(shape):
        return torch.linspace(1.0, 0.5, shape[0])[:, None].expand(shape)

    def gate(x, router):
        sharded_moe.exp_selection_uniform_map[x.device] = falling
        balance, combine, _, _ = top1gating(x @ router.t(), factor, least, use_rts=True)
        return balance, combine
    return gate


def deepspeed_top2(factor: float, least: int):
    def gate(x, router):
        balance, combine, _, _ = top2gating(x @ router.t(), factor, least, top2_2nd_expert_sampling=False)
        return balance, combine
    return gate


def lucidrains(policy: str, factor: float):
    def gate(x, router):
        gating = Top2Gating(D, E, second_policy_train=policy, capacity_factor_train=factor)
        del gating.w_gating
        gating.w_gating = router.t()
        _, combine, balance = gating(x[None])
        return balance, combine[0]
    return gate


case("deepspeed_top1", deepspeed_top1(1.25, 4))
case("deepspeed_top1_tight", deepspeed_top1(0.5, 2))
case("deepspeed_top1_least", deepspeed_top1(0.3, 4), n=20)
case("deepspeed_top2", deepspeed_top2(1.0, 4))
case("deepspeed_top2_tight", deepspeed_top2(0.45, 2))
case("lucidrains_all", lucidrains("all", 1.25))
case("lucidrains_none", lucidrains("none", 1.25))
case("lucidrains_tight", lucidrains("all", 0.75))
save_file(fixtures, OUT)
