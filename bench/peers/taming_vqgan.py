"""An update of a VQGAN with the modules of taming-transformers: taming_vqgan.py CHECKOUT FOLDER ITERS BATCH [--adversary | --write]. Prints one JSON object.

CHECKOUT is a checkout of CompVis/taming-transformers. --write puts first weights (its names) and pictures of noise in FOLDER, for both sides.
Encoder, decoder, quantiser, discriminator, losses and the adaptive weight are theirs; the loop is leaner than theirs: the autoencoder is passed
once an update (theirs passes it once for each optimizer), the discriminator is held fixed while the autoencoder learns and left out without
--adversary. No LPIPS: its weights are not at hand.
"""
import json, os, sys, time
import numpy as np
import torch
import torch.nn as nn

CHECKOUT, FOLDER, ITERS, BATCH = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ADVERSARY, WRITE = "--adversary" in sys.argv, "--write" in sys.argv
torch.set_num_threads(2)
sys.path.insert(0, CHECKOUT)
sys.stdout, OUT = sys.stderr, sys.stdout  # their constructors print
from taming.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.losses import vqperceptual
from taming.modules.vqvae.quantize import VectorQuantizer2

# The sizes of preset vqgan-64.
SIDE, LR, BETAS = 64, 5e-4, (0.5, 0.9)
NET = dict(ch=32, out_ch=3, ch_mult=(1, 2, 2, 4), num_res_blocks=1, attn_resolutions=[8], in_channels=3, resolution=SIDE, z_channels=64)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder(**NET, double_z=False)
        self.decoder = Decoder(**NET)
        self.quantize = VectorQuantizer2(512, 8, beta=0.25, legacy=False)
        self.quant_conv = nn.Conv2d(64, 8, 1)
        self.post_quant_conv = nn.Conv2d(8, 64, 1)

    def forward(self, x):
        z, loss, _ = self.quantize(self.quant_conv(self.encoder(x)))
        return self.decoder(self.post_quant_conv(z)), loss


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def write():
    from safetensors.torch import save_file
    torch.manual_seed(0)
    os.makedirs(FOLDER, exist_ok=True)
    save_file({k: v.contiguous() for k, v in Autoencoder().state_dict().items()}, f"{FOLDER}/vqgan.safetensors")
    np.random.default_rng(0).integers(0, 256, BATCH * 3 * SIDE * SIDE, dtype=np.uint8).tofile(f"{FOLDER}/pictures.u8")


def main():
    from safetensors.torch import load_file
    model = Autoencoder().train()
    model.load_state_dict(load_file(f"{FOLDER}/vqgan.safetensors"))
    vqperceptual.LPIPS = nn.Identity  # its constructor loads weights; with perceptual_weight 0 it is never called
    loss_of = vqperceptual.VQLPIPSWithDiscriminator(disc_start=0, disc_num_layers=2, disc_ndf=32, disc_weight=0.8, perceptual_weight=0.0).train()
    disc = loss_of.discriminator
    opt = torch.optim.Adam(model.parameters(), lr=LR, betas=BETAS)
    opt_disc = torch.optim.Adam(disc.parameters(), lr=LR, betas=BETAS)
    x = torch.from_numpy(np.fromfile(f"{FOLDER}/pictures.u8", dtype=np.uint8)[:BATCH * 3 * SIDE * SIDE])
    x = (x.float() / 127.5 - 1).view(BATCH, 3, SIDE, SIDE)
    ms, losses = [], []
    for _ in range(ITERS):
        start = time.perf_counter()
        rebuilt, codebook = model(x)
        if ADVERSARY:
            disc.requires_grad_(False)
            loss, log = loss_of(codebook, x, rebuilt, 0, 1, last_layer=model.decoder.conv_out.weight)
            shown = log["train/nll_loss"] + log["train/quant_loss"]
        else:
            loss = shown = (x - rebuilt).abs().mean() + codebook
        opt.zero_grad()
        loss.backward()
        opt.step()
        if ADVERSARY:
            disc.requires_grad_(True)
            loss, _ = loss_of(codebook, x, rebuilt, 1, 1)
            opt_disc.zero_grad()
            loss.backward()
            opt_disc.step()
        losses.append(shown.item())
        ms.append((time.perf_counter() - start) * 1e3)
    count = lambda m: sum(p.numel() for p in m.parameters())
    print(json.dumps({"bench": "vqgan", "adversary": ADVERSARY, "batch": BATCH, "params": count(model), "disc_params": count(disc), "ms": ms,
                      "loss": losses, "rss_mb": round(peak_mb()), "torch": torch.__version__}), file=OUT)


write() if WRITE else main()
