"""A GPT-2-like model in PyTorch as the peer of `configs/poems.toml`: the same poems, words and size, a budget of processor time. Prints a JSON line.

    m6 eval poem --model RUN --data PREPARED --n 1000       # every held-out poem: writes RUN/eval/poem.references.jsonl
    python bench/peers/poem_gpt.py --poems DATA/poetry/poems.jsonl --data PREPARED --references RUN/eval/poem.references.jsonl --cpu-minutes 30

Needs torch, tokenizers and blake3. Width, depth, heads, tied head and vocabulary are those of m6-tiny; learned positions, pre-norm, exact GELU.

What is learned: the records that `m6 prepare` does not hold out (the same hash of the same ids), three examples of verse of equal lines to one plain
text. Verse is `[CLS] question [SEP] text [SEP]`, the question being the words that m6 reads (`五言八句诗，题春望。`, or by the first line in one of
four); loss on the text and its end alone, as ours. Plain texts are `[CLS] part [SEP]` of at most 136 words. Batches of examples of like length.

What is measured: perplexity of the true poems of --references given the form and the title, by word with the end of each poem (every word of the
text and one [SEP]); numerator and denominator are those of `perplexity` of `m6 eval poem`.

The budget is processor time of one thread spent in updates, batches included; reading the data, the measurements and the start are left out. The
learning rate follows the share of the budget that is used, so that it ends with it. The allocator is tuned as in compare.py.
"""
import argparse, json, math, os, random, re, sys, time

# Read when a process starts.
TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1099511627776:glibc.malloc.trim_threshold=1099511627776"
                           ":glibc.malloc.top_pad=268435456"}
if __name__ == "__main__" and "GLIBC_TUNABLES" not in os.environ:
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **TUNED, "OMP_NUM_THREADS": "1"})

import torch
import torch.nn as nn
import torch.nn.functional as F
from blake3 import blake3
from tokenizers import Tokenizer

D, LAYERS, HEADS, FF = 256, 4, 4, 1024
# Of configs/poems.toml.
MAX_TEXT, ROW_LEN, HELD_OUT = 136, 256, 0.02
VERSE_SHARE, FIRST_LINE_P = 0.75, 0.25
CLS, SEP = 2, 3
BETAS, WARM_SHARE, END_RATIO = (0.9, 0.98), 0.05, 0.05


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poems", required=True, help="poetry/poems.jsonl")
    parser.add_argument("--data", required=True, help="the folder of `m6 prepare`, for its tokenizer.json")
    parser.add_argument("--references", required=True, help="poem.references.jsonl of `m6 eval poem`")
    parser.add_argument("--cpu-minutes", type=float, default=30.0)
    parser.add_argument("--points", type=int, default=4, help="measurements on the way, the last one at the end")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def is_held_out(name):
    """As `m6_data::is_held_out`."""
    return (int.from_bytes(blake3(name.encode()).digest()[:8], "little") >> 11) / 2**53 < HELD_OUT


def lines_of(text):
    """The lines of a poem of equal lines, as `m6_text::verse` sees them; none of another text."""
    lines = [line for line in re.split(r"[，。？！；、：,.?!;:\s]", text) if line]
    n = len(lines[0]) if lines else 0
    fits = n in (5, 7) and len(lines) in range(4, 17, 2)
    return lines if fits and all(re.fullmatch("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002a6df]{%d}" % n, line) for line in lines) else []


def text_of(lines):
    return "".join(line + "，。"[i % 2] for i, line in enumerate(lines))


def question_of(lines, name, words):
    count = ["四", "六", "八", "十", "十二", "十四", "十六"][len(lines) // 2 - 2]
    return f"{'五' if len(lines[0]) == 5 else '七'}言{count}句诗，{name}{words}。"


class Words:
    """Texts to ids, many at once."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        assert [self.tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]")] == [CLS, SEP]

    def of(self, texts):
        return [found.ids for found in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def example(question, answer):
    """Ids, and how many of them at the end are learned: the answer with its end. A plain text has no question."""
    return [CLS, *question, *([SEP] if question else []), *answer, SEP], len(answer) + 1


def training(rows, words):
    """Examples of verse, for each those by title and by first line, and plain texts."""
    learned = [row for i, row in enumerate(rows, 1) if not is_held_out(f"poems:{i}")]
    poems = [(row["title_s"].strip(), lines) for row in learned if (lines := lines_of(row["text_s"]))]
    by_title = words.of(question_of(lines, "题", title) for title, lines in poems)
    by_line = words.of(question_of(lines, "首句", lines[0]) for _, lines in poems)
    verse = []
    for *asked, text in zip(by_title, by_line, words.of(text_of(lines) for _, lines in poems)):
        fitting = [ids for ids in asked if len(ids) <= MAX_TEXT and len(ids) + len(text) < ROW_LEN]
        if fitting and len(text) <= MAX_TEXT:
            verse.append((example(fitting[0], text), example(fitting[-1], text)))
    plain = [example([], ids[at:at + MAX_TEXT]) for ids in words.of(row["text_s"] for row in learned) for at in range(0, len(ids), MAX_TEXT)]
    return verse, plain


def held_out(rows, path, words):
    """The poems of the references by title; the ids must be held-out records of this file."""
    poems = read(path)
    for poem in poems:
        row = rows[int(poem["id"].rsplit(":", 1)[1]) - 1]
        assert is_held_out(poem["id"]) and lines_of(row["text_s"]) == poem["lines"], f"{poem['id']} is no held-out poem of these records"
    asked = words.of(question_of(poem["lines"], "题", poem["title"]) for poem in poems)
    texts = words.of(text_of(poem["lines"]) for poem in poems)
    return [example(question[:MAX_TEXT], text[:MAX_TEXT]) for question, text in zip(asked, texts)]


def shuffled(items, rng):
    while True:
        yield from rng.sample(items, len(items))


def cut(examples, n_tokens):
    """Batches of examples of like length, each of at most so many positions with padding."""
    batch = []
    for each in sorted(examples, key=lambda e: len(e[0])):
        if batch and (len(batch) + 1) * len(each[0]) > n_tokens:
            yield batch
            batch = []
        batch.append(each)
    yield batch


def batches(verse, plain, n_tokens, rng):
    verse, plain = shuffled(verse, rng), shuffled(plain, rng)
    draw = lambda: next(verse)[rng.random() < FIRST_LINE_P] if rng.random() < VERSE_SHARE else next(plain)
    while True:
        yield from shuffle(list(cut([draw() for _ in range(1024)], n_tokens)), rng)


def shuffle(items, rng):
    rng.shuffle(items)
    return items


def tensors(batch):
    """Ids padded at the right, the flat positions whose next word is learned, and those words."""
    width = max(len(ids) for ids, _ in batch) - 1
    x, at, labels = torch.zeros(len(batch), width, dtype=torch.long), [], []
    for i, (ids, n_learned) in enumerate(batch):
        x[i, :len(ids) - 1] = torch.tensor(ids[:-1])
        at += range(i * width + len(ids) - 1 - n_learned, i * width + len(ids) - 1)
        labels += ids[-n_learned:]
    return x, torch.tensor(at), torch.tensor(labels)


class Block(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out, self.up, self.down = nn.Linear(D, 3 * D), nn.Linear(D, D), nn.Linear(D, FF), nn.Linear(FF, D)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        b, s, _ = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, s, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
        # Padding stands at the right, so that no word sees it.
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(a.transpose(1, 2).reshape(b, s, D)))
        return x + self.dropout(self.down(F.gelu(self.up(self.ln2(x)))))


class Gpt(nn.Module):
    def __init__(self, n_words, dropout):
        super().__init__()
        self.words, self.positions = nn.Embedding(n_words, D), nn.Embedding(2 * MAX_TEXT + 3, D)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(LAYERS))
        self.norm, self.dropout = nn.LayerNorm(D), nn.Dropout(dropout)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * LAYERS) if name.endswith(("out.weight", "down.weight")) else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, x, at):
        """Logits of the next word at some flat positions."""
        h = self.dropout(self.words(x) + self.positions.weight[:x.shape[1]])
        for block in self.blocks:
            h = block(h)
        return F.linear(self.norm(h.view(-1, D)[at]), self.words.weight)


def perplexity(model, poems):
    model.eval()
    total, n = 0.0, 0
    with torch.inference_mode():
        for batch in cut(poems, 4096):
            x, at, labels = tensors(batch)
            total += F.cross_entropy(model(x, at).double(), labels, reduction="sum").item()
            n += len(labels)
    model.train()
    return math.exp(total / n), n


def rate(share, lr):
    if share < WARM_SHARE:
        return lr * max(share, 1e-3) / WARM_SHARE
    along = (min(share, 1.0) - WARM_SHARE) / (1 - WARM_SHARE)
    return lr * (END_RATIO + (1 - END_RATIO) * 0.5 * (1 + math.cos(math.pi * along)))


def main():
    args = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    words, rows = Words(args.data), read(args.poems)
    verse, plain = training(rows, words)
    poems = held_out(rows, args.references, words)
    model = Gpt(words.tokenizer.get_vocab_size(), args.dropout).train()
    # Matrices and tables decay, biases and norms do not.
    of = lambda matrix: [p for p in model.parameters() if (p.ndim == 2) == matrix]
    groups = [{"params": of(True), "weight_decay": args.weight_decay}, {"params": of(False), "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=args.lr, betas=BETAS, fused=True)
    print(f"{len(verse)} poems of equal lines and {len(plain)} plain texts to learn from, {len(poems)} poems held out", file=sys.stderr, flush=True)
    budget, used, points = args.cpu_minutes * 60, 0.0, []
    updates = tokens = learned = 0
    loader = batches(verse, plain, args.batch_tokens, random.Random(args.seed))
    mean = 0.0
    start = time.process_time()
    while used < budget:
        x, at, labels = tensors(next(loader))
        for group in opt.param_groups:
            group["lr"] = rate(used / budget, args.lr)
        loss = F.cross_entropy(model(x, at), labels)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        updates, tokens, learned = updates + 1, tokens + int((x > 0).sum()), learned + len(labels)
        mean += (loss.item() - mean) * max(0.02, 1 / updates)
        used += time.process_time() - start
        if used >= min(budget, budget * (len(points) + 1) / args.points):
            found, n_words = perplexity(model, poems)
            points.append([round(used / 60, 2), round(found, 2)])
            print(f"{used / 60:7.2f} CPU minutes  {updates:6} updates  {tokens:9} tokens  training loss {mean:.3f}  held-out perplexity {found:.2f}",
                  file=sys.stderr, flush=True)
        start = time.process_time()
    print(json.dumps({"params": sum(p.numel() for p in model.parameters()), "updates": updates, "tokens": tokens, "learned": learned,
                      "cpu_minutes": round(used / 60, 2), "n_poems": len(poems), "n_words": n_words, "perplexity": points[-1][1], "points": points,
                      "lr": args.lr, "dropout": args.dropout, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
