"""Captions by beam search with Hugging Face transformers: hf_captions.py embeds|cache CHECKPOINT BATCH BEAMS TOKENS ITERS THREADS.

A GPT2LMHeadModel of the sizes in CHECKPOINT/config.json (width, depth, heads, feed-forward, vocabulary, tied head) behind the same picture encoder
(preset m6-tiny's strided convolutions). `embeds` gives patches and [CLS] to `generate` as `inputs_embeds`, which it reads once for every beam; `cache`
reads the patches once for every picture, repeats their keys and values for the beams and gives those. Both write the same words. Weights are random:
time does not depend on them. Prints one JSON object; `ms` is a batch from pixels in memory to the words of all its captions.
"""
import json, sys, time
import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers

KIND, CHECKPOINT = sys.argv[1:3]
BATCH, BEAMS, TOKENS, ITERS, THREADS = map(int, sys.argv[3:8])
assert KIND in ("embeds", "cache"), KIND
CLS, SEP, PAD = 2, 3, 0
torch.set_num_threads(THREADS)
torch.manual_seed(0)
transformers.logging.set_verbosity_error()


class Encoder(nn.Module):
    """Pixels to vectors of patches, as m6's `resnet` patches."""

    def __init__(self, cfg, d):
        super().__init__()
        widths = [3, *cfg["widths"]]
        conv = lambda a, b, stride: nn.Conv2d(a, b, 3, stride, 1)
        norm = lambda n: nn.GroupNorm(cfg["norm_groups"], n)
        self.down = nn.ModuleList(conv(a, b, 2) for a, b in zip(widths, widths[1:]))
        self.blocks = nn.ModuleList(nn.ModuleList(nn.Sequential(norm(n), nn.SiLU(), conv(n, n, 1), norm(n), nn.SiLU(), conv(n, n, 1)) for _ in range(k))
                                    for n, k in zip(cfg["widths"], cfg["blocks"]))
        self.norms = nn.ModuleList(norm(n) for n in cfg["widths"])
        self.proj = nn.Linear(widths[-1], d)
        self.places = nn.Parameter(torch.randn(cfg["grid"] ** 2, d) * 0.02)

    def forward(self, pixels):
        x = pixels.float() / 127.5 - 1
        for down, blocks, norm in zip(self.down, self.blocks, self.norms):
            x = down(x)
            for block in blocks:
                x = x + block(x)
            x = F.silu(norm(x))
        return self.proj(x.flatten(2).transpose(1, 2)) + self.places


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


with open(f"{CHECKPOINT}/config.json", encoding="utf-8") as file:
    cfg = json.load(file)["model"]
patches = cfg["patches"]
assert (patches["kind"], patches["scope"], cfg["experts"]["n_experts"]) == ("resnet", "picture", 1), "a model like preset m6-tiny"
n_patches = patches["grid"] ** 2
sizes = transformers.GPT2Config(
    vocab_size=cfg["vocab_size"], n_positions=n_patches + cfg["max_len"], n_embd=cfg["d_model"], n_layer=cfg["n_layers"], n_head=cfg["n_heads"],
    n_inner=cfg["d_ff"], activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, layer_norm_epsilon=cfg["ln_eps"],
    bos_token_id=CLS, eos_token_id=SEP, pad_token_id=PAD, attn_implementation="sdpa", tie_word_embeddings=cfg["tie_embeddings"])
model = transformers.GPT2LMHeadModel(sizes).eval()
encoder = Encoder(patches, cfg["d_model"]).eval()
pixels = torch.randint(0, 256, (BATCH, 3, patches["image_side"], patches["image_side"]), dtype=torch.uint8)
mask = torch.ones(BATCH, n_patches + 1, dtype=torch.long)


ids = torch.full((BATCH, n_patches + 1), PAD)
ids[:, -1] = CLS
how = dict(attention_mask=mask, num_beams=BEAMS, do_sample=False, use_cache=True, min_new_tokens=TOKENS, max_new_tokens=TOKENS, length_penalty=0.6)


def captions():
    with torch.inference_mode():
        patches = encoder(pixels)
        if KIND == "embeds":
            begin = model.transformer.wte.weight[CLS].expand(BATCH, 1, -1)
            return model.generate(inputs_embeds=torch.cat([patches, begin], 1), **how)
        cache = model.transformer(inputs_embeds=patches, use_cache=True).past_key_values
        cache.batch_repeat_interleave(BEAMS)
        # What stands at the places that the cache holds is not looked at.
        return model.generate(ids, cache=cache, **how)[:, n_patches + 1:]


ms = []
for _ in range(ITERS):
    start = time.perf_counter()
    words = captions()
    ms.append((time.perf_counter() - start) * 1e3)
    assert words.shape == (BATCH, TOKENS) and not (words == SEP).any(), words.shape
print(json.dumps({"ms": ms, "words": int(words.sum()), "params": sum(p.numel() for m in (model, encoder) for p in m.parameters()),
                  "rss_mb": round(peak_mb()), "torch": torch.__version__, "transformers": transformers.__version__}))
