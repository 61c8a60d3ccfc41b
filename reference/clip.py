"""Writes the reference of Chinese-CLIP: a tiny model with random weights in transformers' own layout, and what it makes of pictures and texts.

Usage: python reference/clip.py [output folder]   (default crates/m6-model/tests/fixtures/clip; needs torch, transformers 5, pillow)

The folder is what `ChineseCLIPModel.save_pretrained` writes, with a vocab.txt. `expected.safetensors` holds pictures (bytes), the pixel values of
ChineseCLIPImageProcessor, token ids, features of both towers and logits, all computed in float64.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import BertTokenizer, ChineseCLIPConfig, ChineseCLIPModel
from transformers.models.chinese_clip.image_processing_chinese_clip import ChineseCLIPImageProcessor
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "crates/m6-model/tests/fixtures/clip")
SIDE = 32
TEXTS = ["左边有三个红色圆形", "一只 Cat 在 blue 蓝色方形上。", "", "红" * 80]
# Widths and heights of the pictures: such that Pillow 13 scales columns first, as Pillow did always before.
SIZES = [(32, 32), (57, 40), (96, 50)]
COMMON = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
PREPROCESSOR = {
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def vocabulary():
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = list("左右上下中边有一二三四五个红黄蓝绿色圆方形只在的和。,") + ["cat", "bl", "##ue", "##s", "c", "##a"]
    return marks + words


def pictures():
    for i, (width, height) in enumerate(SIZES):
        y, x = np.mgrid[0:height, 0:width]
        planes = [(x * (7 + i) + y * 13) % 256, (x * x + y * 3) % 256, (x ^ (y * (5 + i))) % 256]
        yield np.stack(planes, 2).astype(np.uint8)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(20)
    words = vocabulary()
    config = ChineseCLIPConfig(
        text_config=dict(COMMON, vocab_size=len(words), max_position_embeddings=64),
        vision_config=dict(COMMON, image_size=SIDE, patch_size=8),
        projection_dim=16,
    )
    model = ChineseCLIPModel(config).eval()
    with torch.no_grad():
        # The first weights are so small that a mistake could hide: every tensor gets numbers of its own.
        for name, value in model.named_parameters():
            if name == "logit_scale":
                value.fill_(2.6592)
            elif value.dim() == 1:
                value.add_(0.2 * torch.randn_like(value))
            else:
                value.copy_(torch.randn_like(value) * value[0].numel() ** -0.5)
    model.save_pretrained(OUT)
    (OUT / "vocab.txt").write_text("".join(word + "\n" for word in words), encoding="utf-8")
    (OUT / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=1) + "\n")
    tokenizer = BertTokenizer(vocab=str(OUT / "vocab.txt"))
    model = model.double()
    out = {}
    with torch.no_grad():
        for i, picture in enumerate(pictures()):
            image = Image.fromarray(picture)
            pixels = ChineseCLIPImageProcessorPil(**PREPROCESSOR)(image, return_tensors="pt")["pixel_values"]
            torchvision = ChineseCLIPImageProcessor(**PREPROCESSOR)(image, return_tensors="pt")["pixel_values"]
            levels = (pixels - torchvision).abs().amax() * 0.27 * 255
            print(f"picture {i}: PIL and torchvision are {levels:.2f} levels apart")
            features = model.get_image_features(pixel_values=pixels.double()).pooler_output
            out |= {f"picture.{i}": torch.from_numpy(picture), f"pixels.{i}": pixels[0], f"image.{i}": features[0]}
            # Cutting the middle out of a picture whose shorter side is scaled, as the processor does by default.
            cut = dict(PREPROCESSOR, size={"shortest_edge": SIDE}, do_center_crop=True, crop_size={"height": SIDE, "width": SIDE})
            out[f"cut.{i}"] = ChineseCLIPImageProcessorPil(**cut)(image, return_tensors="pt")["pixel_values"][0]
        for i, text in enumerate(TEXTS):
            tokens = tokenizer(text, truncation=True, max_length=52, return_tensors="pt")
            features = model.get_text_features(**tokens).pooler_output
            out |= {f"ids.{i}": tokens["input_ids"][0], f"text.{i}": features[0]}
        # All texts at once, padded: the logits of the model itself.
        tokens = tokenizer(TEXTS, truncation=True, max_length=52, padding=True, return_tensors="pt")
        pixels = torch.stack([out[f"pixels.{i}"] for i in range(len(SIZES))]).double()
        out["logits"] = model(pixel_values=pixels, **tokens).logits_per_text
    kind = {torch.uint8: torch.uint8, torch.int64: torch.int32}
    save_file({name: t.to(kind.get(t.dtype, torch.float32)).contiguous() for name, t in out.items()}, OUT / "expected.safetensors")


if __name__ == "__main__":
    main()
