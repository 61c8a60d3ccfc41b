"""Writes crates/m6-model/tests/fixtures/model_resnet.safetensors: the patch networks in plain PyTorch.

Three cases, each with its input pictures and the features it gives:

- `small.*`  the group-norm network, 3 stages with 0, 1 and 0 residual blocks, whole picture; weights and gradients stored;
- `narrow.*` a ResNet of bottlenecks in torchvision's layout with reduced widths, cell by cell; weights and gradients stored;
- `full.*`   ResNet-50 itself (torchvision's class): only picture and 2048 outputs are stored, for both sides compute the weights
  from the rule in `keyed` below.

    python reference/model_resnet.py
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.models.resnet import Bottleneck, ResNet, resnet50

OUT = Path(__file__).resolve().parent.parent / "crates/m6-model/tests/fixtures/model_resnet.safetensors"
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def cells(x, grid):
    """[n, 3, s, s] to [n * grid * grid, 3, c, c] in raster order."""
    c = x.shape[-1] // grid
    return x.unfold(2, c, c).unfold(3, c, c).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, c, c)


def small(gen, out):
    widths, blocks, groups = [8, 8, 16], [0, 1, 0], 4
    w, n_in = {}, 3
    for i, (width, n) in enumerate(zip(widths, blocks)):
        names = [(f"stages.{i}.down", width, n_in)]
        names += [(f"stages.{i}.blocks.{j}.conv{h}", width, width) for j in range(n) for h in (1, 2)]
        for name, n_out, n_from in names:
            w[f"{name}.weight"] = torch.randn(n_out, n_from, 3, 3, generator=gen) * (2 / (9 * n_from)) ** 0.5
            w[f"{name}.bias"] = torch.randn(n_out, generator=gen) * 0.1
        for name in [f"stages.{i}.blocks.{j}.norm{h}" for j in range(n) for h in (1, 2)] + [f"stages.{i}.norm"]:
            w[f"{name}.weight"] = 1 + 0.1 * torch.randn(width, generator=gen)
            w[f"{name}.bias"] = 0.1 * torch.randn(width, generator=gen)
        n_in = width
    w = {n: t.requires_grad_() for n, t in w.items()}
    p = lambda name: (w[f"{name}.weight"], w[f"{name}.bias"])
    act = lambda x, name: F.silu(F.group_norm(x, groups, *p(name)))
    pictures = torch.randint(256, (2, 3, 16, 16), generator=gen, dtype=torch.uint8)
    x = pictures.float() / 127.5 - 1
    for i, n in enumerate(blocks):
        x = F.conv2d(x, *p(f"stages.{i}.down"), stride=2, padding=1)
        for j in range(n):
            at = f"stages.{i}.blocks.{j}"
            h = F.conv2d(act(x, f"{at}.norm1"), *p(f"{at}.conv1"), padding=1)
            x = x + F.conv2d(act(h, f"{at}.norm2"), *p(f"{at}.conv2"), padding=1)
        x = act(x, f"stages.{i}.norm")
    features = x.permute(0, 2, 3, 1).reshape(-1, widths[-1])
    store(out, "small", w, pictures, features, gen)


def store(out, case, weights, pictures, features, gen):
    """Adds a case; the gradients are those of sum(features * probe)."""
    probe = torch.randn(features.shape, generator=gen)
    (features * probe).sum().backward()
    for name, t in weights.items():
        out[f"{case}.weights.patches.{name}"] = t.detach().contiguous()
        if t.grad is not None:
            out[f"{case}.grads.patches.{name}"] = t.grad.contiguous()
    out |= {f"{case}.pictures": pictures, f"{case}.features": features.detach().contiguous(), f"{case}.probe": probe}


def narrow(gen, out):
    net = ResNet(Bottleneck, [1, 2, 1, 1])
    # torchvision fixes the widths 64..512; the same class with narrow layers in their place. The stem is as wide as the first
    # stage's inner width.
    net.inplanes = 4
    net.conv1 = torch.nn.Conv2d(3, 4, 7, 2, 3, bias=False)
    net.bn1 = torch.nn.BatchNorm2d(4)
    net.layer1 = net._make_layer(Bottleneck, 4, 1)
    net.layer2 = net._make_layer(Bottleneck, 4, 2, stride=2)
    net.layer3, net.layer4, net.fc = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity()
    state = {}
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(t.shape, generator=gen)
        if t.dim() == 4:
            value = noise * (2 / t[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            value = 0.5 + noise.abs()
        elif name.endswith("weight"):
            value = 1 + 0.1 * noise
        else:
            value = 0.1 * noise
        state[name] = value
    net.load_state_dict(state, strict=False)
    net.eval()
    pictures = torch.randint(256, (1, 3, 64, 64), generator=gen, dtype=torch.uint8)
    features = net(cells((pictures.float() / 255 - MEAN) / STD, 2))
    weights = dict(net.named_parameters()) | dict(net.named_buffers())
    weights = {n: t for n, t in weights.items() if not n.endswith("num_batches_tracked")}
    store(out, "narrow", weights, pictures, features, gen)


def keyed(name, shape):
    """Uniform values that both sides compute: SplitMix64's finalizer of (FNV-1a of the name) + (i + 1) * golden ratio."""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) % 2**64
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5
    if len(shape) == 4:
        value = u * (24 / np.prod(shape[1:])) ** 0.5
    elif name.endswith("running_var"):
        value = 1 + u
    elif name.endswith("weight"):
        # The last norm of a block is damped so that 16 blocks do not blow the stream up.
        value = (0.3 if "bn3" in name else 1.0) + 0.2 * u
    else:
        value = 0.2 * u
    return torch.from_numpy(value.astype(np.float32).reshape(shape))


def full(gen, out):
    net = resnet50(weights=None)
    net.fc = torch.nn.Identity()
    state = net.state_dict()
    net.load_state_dict(
        {n: t if n.endswith("num_batches_tracked") else keyed(n, t.shape) for n, t in state.items()}
    )
    net.eval()
    pictures = torch.randint(256, (1, 3, 64, 64), generator=gen, dtype=torch.uint8)
    with torch.no_grad():
        features = net((pictures.float() / 255 - MEAN) / STD)
    out |= {"full.pictures": pictures, "full.features": features.contiguous()}
    print("full: rms of the features", features.square().mean().sqrt().item())


def main():
    torch.set_num_threads(1)
    gen = torch.Generator().manual_seed(11)
    out = {}
    small(gen, out)
    narrow(gen, out)
    full(gen, out)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(out, OUT)
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
