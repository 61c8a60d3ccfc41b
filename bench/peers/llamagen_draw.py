"""Pictures from words with LlamaGen's transformer and sampling loop: llamagen_draw.py CHECKOUT TAMING ITERS CODES BATCH GUIDANCE LAYERS WIDTH HEADS WORDS TOP_K.

CHECKOUT is a checkout of FoundationVision/LlamaGen, TAMING one of CompVis/taming-transformers, whose decoder turns the codes into pixels (in the
sizes of preset vqgan-64) and is timed apart. Weights are random: time does not depend on them. Prints one JSON object.

Sizes are those of `m6 bench draw`. LlamaGen's feed-forward layer is gated (three matrices), so that its width is two thirds of ours, rounded up to
a multiple of 8, for the same number of weights. Its prompt is WORDS vectors of a text encoder (WIDTH wide), which it projects with two more matrices.
"""
import json, sys, time, warnings
import torch
import torch.nn as nn

CHECKOUT, TAMING = sys.argv[1:3]
ITERS, CODES, BATCH = map(int, sys.argv[3:6])
GUIDANCE = float(sys.argv[6])
LAYERS, WIDTH, HEADS, WORDS, TOP_K = map(int, sys.argv[7:12])
CODEBOOK, CODE_DIM, Z = 512, 8, 64
torch.set_num_threads(2)
warnings.filterwarnings("ignore")
sys.path[:0] = [CHECKOUT, TAMING]
sys.stdout, OUT = sys.stderr, sys.stdout  # a constructor prints
from autoregressive.models.generate import generate
from autoregressive.models.gpt import ModelArgs, Transformer
from taming.modules.diffusionmodules.model import Decoder


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


torch.manual_seed(0)
side = 64 if CODES == 64 else 128
grid = int(CODES ** 0.5)
model = Transformer(ModelArgs(dim=WIDTH, n_layer=LAYERS, n_head=HEADS, multiple_of=8, vocab_size=CODEBOOK, block_size=CODES, cls_token_num=WORDS,
                              caption_dim=WIDTH, model_type="t2i")).eval()
nn.init.normal_(model.output.weight, std=0.02)  # theirs starts at zero, where every code ties
model.cls_embedding.uncond_embedding = model.cls_embedding.uncond_embedding[:WORDS].detach()  # theirs is always 120 long
table = nn.Embedding(CODEBOOK, CODE_DIM)
post_quant_conv = nn.Conv2d(CODE_DIM, Z, 1)
decoder = Decoder(ch=32, out_ch=3, ch_mult=(1, 2, 2, 4), num_res_blocks=1, attn_resolutions=[8], in_channels=3, resolution=side, z_channels=Z).eval()
prompts = torch.randn(BATCH, WORDS, WIDTH)
ms, decode_ms = [], []
for _ in range(ITERS):
    start = time.perf_counter()
    codes = generate(model, prompts, CODES, cfg_scale=GUIDANCE, temperature=1.0, top_k=TOP_K, top_p=1.0, sample_logits=True)
    ms.append((time.perf_counter() - start) * 1e3)
    assert codes.shape == (BATCH, CODES) and 0 <= int(codes.min()) and int(codes.max()) < CODEBOOK
    start = time.perf_counter()
    with torch.inference_mode():
        pixels = decoder(post_quant_conv(table(codes.long()).view(BATCH, grid, grid, CODE_DIM).permute(0, 3, 1, 2)))
        pixels = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    decode_ms.append((time.perf_counter() - start) * 1e3)
    assert pixels.shape == (BATCH, 3, side, side)
print(json.dumps({"bench": "draw", "codes": CODES, "batch": BATCH, "guidance": GUIDANCE, "params": sum(p.numel() for p in model.parameters()),
                  "ms": ms, "decode_ms": decode_ms, "rss_mb": round(peak_mb()), "torch": torch.__version__}), file=OUT)
