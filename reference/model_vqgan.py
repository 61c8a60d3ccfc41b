"""Writes the PyTorch reference of the VQGAN: forward pass, codes, losses and every gradient, adversary included.

Usage: python reference/model_vqgan.py [output folder]   (default crates/m6-model/tests/fixtures)

The modules follow the published description of taming-transformers' VQGAN and give their weights the same names. The discriminator is m6's own
(group norm and SiLU). Everything is computed in float64 from weights that float32 holds exactly.
"""
import pathlib
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "crates/m6-model/tests/fixtures")
SIDE, CH, MULT, N_RES, ATTN, Z, K, DIM, GROUPS = 16, 4, (1, 2), 1, (8,), 6, 16, 4, 2


def norm(c):
    return nn.GroupNorm(GROUPS, c, eps=1e-6)


class ResnetBlock(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.norm1, self.conv1 = norm(c_in), nn.Conv2d(c_in, c_out, 3, 1, 1)
        self.norm2, self.conv2 = norm(c_out), nn.Conv2d(c_out, c_out, 3, 1, 1)
        if c_in != c_out:
            self.nin_shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = norm(c)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        b, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = (m(y).reshape(b, c, h * w) for m in (self.q, self.k, self.v))
        weights = torch.softmax(q.transpose(1, 2) @ k * c**-0.5, dim=2)
        return x + self.proj_out((v @ weights.transpose(1, 2)).reshape(b, c, h, w))


class Down(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, 2, 0)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, 1, 1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def level(c_in, c_out, n, attention):
    m = nn.Module()
    m.block = nn.ModuleList([ResnetBlock(c_in if i == 0 else c_out, c_out) for i in range(n)])
    m.attn = nn.ModuleList([AttnBlock(c_out) for _ in range(n)] if attention else [])
    return m


def run_level(m, x):
    for i, block in enumerate(m.block):
        x = block(x)
        if len(m.attn):
            x = m.attn[i](x)
    return x


def middle(c):
    m = nn.Module()
    m.block_1, m.attn_1, m.block_2 = ResnetBlock(c, c), AttnBlock(c), ResnetBlock(c, c)
    return m


def run_middle(m, x):
    return m.block_2(m.attn_1(m.block_1(x)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(3, CH, 3, 1, 1)
        self.down = nn.ModuleList()
        c, side = CH, SIDE
        for i, m in enumerate(MULT):
            d = level(c, CH * m, N_RES, side in ATTN)
            c = CH * m
            if i + 1 < len(MULT):
                d.downsample = Down(c)
                side //= 2
            self.down.append(d)
        self.mid, self.norm_out = middle(c), norm(c)
        self.conv_out = nn.Conv2d(c, Z, 3, 1, 1)

    def forward(self, x):
        x = self.conv_in(x)
        for d in self.down:
            x = run_level(d, x)
            if hasattr(d, "downsample"):
                x = d.downsample(x)
        return self.conv_out(F.silu(self.norm_out(run_middle(self.mid, x))))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        c, side = CH * MULT[-1], SIDE // 2 ** (len(MULT) - 1)
        self.conv_in, self.mid = nn.Conv2d(Z, c, 3, 1, 1), middle(c)
        up = []
        for i in reversed(range(len(MULT))):
            u = level(c, CH * MULT[i], N_RES + 1, side in ATTN)
            c = CH * MULT[i]
            if i:
                u.upsample = Up(c)
                side *= 2
            up.insert(0, u)
        self.up = nn.ModuleList(up)
        self.norm_out, self.conv_out = norm(c), nn.Conv2d(c, 3, 3, 1, 1)

    def forward(self, z):
        x = run_middle(self.mid, self.conv_in(z))
        for u in reversed(self.up):
            x = run_level(u, x)
            if hasattr(u, "upsample"):
                x = u.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Vqgan(nn.Module):
    def __init__(self, l2_norm):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.quant_conv, self.post_quant_conv = nn.Conv2d(Z, DIM, 1), nn.Conv2d(DIM, Z, 1)
        self.quantize = nn.Module()
        self.quantize.embedding = nn.Embedding(K, DIM)
        self.l2_norm = l2_norm

    def forward(self, x):
        z = self.quant_conv(self.encoder(x)).permute(0, 2, 3, 1).contiguous()
        table = self.quantize.embedding.weight
        flat = z.reshape(-1, DIM)
        if self.l2_norm:
            flat, table = F.normalize(flat, dim=1), F.normalize(table, dim=1)
        codes = torch.cdist(flat, table).argmin(1)
        e = table[codes]
        loss = 0.25 * (flat - e.detach()).square().mean() + (e - flat.detach()).square().mean()
        q = flat + (e - flat).detach()
        q = q.reshape(z.shape).permute(0, 3, 1, 2).contiguous()
        return self.decoder(self.post_quant_conv(q)), codes, loss


class Discriminator(nn.Module):
    def __init__(self, ch=8, n_layers=2):
        super().__init__()
        self.conv_in = nn.Conv2d(3, ch, 4, 2, 1)
        self.conv, self.norm = nn.ModuleDict(), nn.ModuleDict()
        c = ch
        for i in range(1, n_layers + 1):
            wider = ch << min(i, 3)
            self.conv[str(i)] = nn.Conv2d(c, wider, 4, 2 if i < n_layers else 1, 1)
            self.norm[str(i)] = nn.GroupNorm(8, wider, eps=1e-6)
            c = wider
        self.conv_out = nn.Conv2d(c, 1, 4, 1, 1)

    def forward(self, x):
        x = F.silu(self.conv_in(x))
        for i in self.conv:
            x = F.silu(self.norm[i](self.conv[i](x)))
        return self.conv_out(x)


def exact(module):
    """Weights that float32 holds, computed with in float64."""
    for p in module.parameters():
        p.data = (torch.randn_like(p) * 0.3 if p.dim() > 1 else p.data + 0.1 * torch.randn_like(p)).float()
    return module.double()


def fixture(name, l2_norm):
    torch.manual_seed(20210301)
    net, disc = exact(Vqgan(l2_norm)), exact(Discriminator())
    x = (torch.rand(2, 3, SIDE, SIDE).float() * 2 - 1).double()
    y, codes, codebook = net(x)
    l1 = (y - x).abs().mean()
    fooled = -disc(y).mean()
    last = net.decoder.conv_out.weight
    pulls = [torch.autograd.grad(part, last, retain_graph=True)[0].norm() for part in (l1, fooled)]
    adaptive = 0.8 * (pulls[0] / (pulls[1] + 1e-4)).clamp(0, 1e4).detach()
    (l1 + codebook + adaptive * fooled).backward()
    out = {f"w.{k}": v.detach() for k, v in net.named_parameters()}
    out |= {f"g.{k}": v.grad for k, v in net.named_parameters()}
    for p in disc.parameters():
        p.grad = None
    hinge = 0.5 * (F.relu(1 - disc(x)).mean() + F.relu(1 + disc(y.detach())).mean())
    hinge.backward()
    out |= {f"w.discriminator.{k}": v.detach() for k, v in disc.named_parameters()}
    out |= {f"g.discriminator.{k}": v.grad for k, v in disc.named_parameters()}
    scalars = {"l1": l1, "codebook": codebook, "adversary": fooled, "adaptive": adaptive, "hinge": hinge}
    out |= {k: v.detach().reshape(1) for k, v in scalars.items()}
    out |= {"x": x, "y": y.detach()}
    out = {k: v.float().contiguous() for k, v in out.items()}
    out["codes"] = codes.to(torch.int32)
    path = OUT / f"{name}.safetensors"
    save_file(out, path)
    print(f"{path}: {path.stat().st_size} bytes, {len(set(codes.tolist()))} codes used")


OUT.mkdir(parents=True, exist_ok=True)
fixture("vqgan_distance", l2_norm=False)
fixture("vqgan_direction", l2_norm=True)
