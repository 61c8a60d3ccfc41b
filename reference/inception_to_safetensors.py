"""Converts pytorch-fid's weights of Inception for `m6 eval image --features inception.safetensors`.

    python reference/inception_to_safetensors.py pt_inception-2015-12-05-6726825d.pth inception.safetensors
"""
import sys

import torch
from safetensors.torch import save_file

state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
unused = ("fc.", "AuxLogits.")
save_file({n: t.contiguous() for n, t in state.items() if not n.startswith(unused) and t.is_floating_point()}, sys.argv[2])
