"""Writes the PyTorch reference of the loaded feature networks: Inception of pytorch-fid 0.3.0 and LPIPS 0.1.4 over VGG16.

No weights are downloaded: both sides compute them by the rule of `keyed` in model_resnet.py, and pictures by `pixels` below, so that the
fixtures hold results only. LPIPS is computed in float64.

    python reference/model_features.py [output folder]   (default crates/m6-model/tests/fixtures)
"""
import pathlib
import sys

import lpips
import numpy as np
import pytorch_fid.inception as fid
import torch
from model_resnet import keyed
from safetensors.torch import save_file
from torchvision.models import inception_v3

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "crates/m6-model/tests/fixtures")


def pixels(height, width, seed):
    """Smooth waves with some noise on them, as bytes [3, height, width]."""
    i = np.arange(3 * height * width, dtype=np.int64)
    noise = (i * 37 + seed * 91 + i * i // 7) % 64
    wave = (i % width) * (3 + seed) + (i // width) * 2
    return torch.from_numpy(((wave + noise) % 256).astype(np.uint8).reshape(3, height, width))


def inception():
    def state(*_, **__):
        return {n: t if n.endswith("num_batches_tracked") else keyed(n, t.shape) for n, t in shapes().items()}

    def shapes():
        return inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False).state_dict()

    fid.load_state_dict_from_url = state
    net = fid.InceptionV3().eval()
    out = {}
    with torch.no_grad():
        # One picture smaller than the network's 299 pixels, one larger.
        for name, (h, w) in {"small": (40, 56), "large": (310, 330)}.items():
            x = pixels(h, w, 1).float()[None] / 255
            out[name] = net(x)[0].reshape(-1).contiguous()
            print("inception", name, out[name][:4], out[name].std())
    save_file(out, OUT / "inception.safetensors")
    lines = [f"{n} {'x'.join(map(str, t.shape))}" for n, t in shapes().items() if t.dim() and not n.startswith("fc.")]
    (OUT / "inception_shapes.txt").write_text("\n".join(lines) + "\n")


def perceptual():
    out = {}
    for name, with_lins in {"lpips": True, "plain": False}.items():
        net = lpips.LPIPS(pretrained=False, net="vgg", lpips=with_lins, pnet_rand=True, pnet_tune=True, verbose=False).double()
        for key, p in net.named_parameters():
            if key.startswith("net.slice"):
                # torchvision's name: the number of a layer stays the same inside its slice.
                key = "features." + key.split(".", 2)[2]
                p.data = keyed(key, p.shape).double()
            elif key.startswith("lin"):
                p.data = keyed(key, p.shape).double().abs()
        x, y = (torch.stack([pixels(32, 40, s), pixels(32, 40, s + 1)]).double() / 127.5 - 1 for s in (2, 5))
        y.requires_grad_()
        value = net(x, y).mean()
        value.backward()
        out |= {f"{name}.value": value.detach().float().reshape(1), f"{name}.dy": y.grad.float().contiguous()}
        print("perceptual", name, value.item(), y.grad.abs().max().item())
    save_file(out, OUT / "perceptual.safetensors")


torch.set_num_threads(1)
inception()
perceptual()
