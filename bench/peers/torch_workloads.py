"""The fixed workloads in PyTorch eager with SDPA: torch_workloads.py train|decode|conv|moe-E-K-padded|moe-E-K-sorted FOLDER ITERS, where
E is the number of experts and K those of a token. Prints one JSON object."""
import json, sys, time
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

torch.set_num_threads(2)
WHICH, FOLDER, ITERS = sys.argv[1], sys.argv[2], int(sys.argv[3])
D, H, L, V = 512, 8, 6, 21128


def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def block(w, i, x, past=None, pos=0):
    b, s, _ = x.shape
    h = F.layer_norm(x, (D,), w[f"l{i}.ln1.w"], w[f"l{i}.ln1.b"])
    qkv = F.linear(h, w[f"l{i}.qkv.w"], w[f"l{i}.qkv.b"]).view(b, s, 3, H, D // H).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    if past is None:
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        keys, values = past[i]
        keys[:, :, pos:pos + s], values[:, :, pos:pos + s] = k, v
        a = F.scaled_dot_product_attention(q, keys[:, :, :pos + s], values[:, :, :pos + s], is_causal=s > 1)
    x = x + F.linear(a.transpose(1, 2).reshape(b, s, D), w[f"l{i}.o.w"], w[f"l{i}.o.b"])
    h = F.layer_norm(x, (D,), w[f"l{i}.ln2.w"], w[f"l{i}.ln2.b"])
    return x + F.linear(F.gelu(F.linear(h, w[f"l{i}.fc1.w"], w[f"l{i}.fc1.b"])), w[f"l{i}.fc2.w"], w[f"l{i}.fc2.b"])


def decoder(w, tokens, past=None, pos=0):
    x = F.embedding(tokens, w["tok_emb"]) + w["pos_emb"][pos:pos + tokens.shape[1]]
    for i in range(L):
        x = block(w, i, x, past, pos)
    if past is not None:
        x = x[:, -1:]
    return F.linear(F.layer_norm(x, (D,), w["lnf.w"], w["lnf.b"]), w["head"])


def train():
    w = load_file(FOLDER + "/lm.safetensors")
    tokens = w.pop("tokens")
    for p in w.values():
        p.requires_grad_()
    opt = torch.optim.AdamW(w.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)

    def step():
        loss = F.cross_entropy(decoder(w, tokens[:, :-1]).view(-1, V), tokens[:, 1:].reshape(-1))
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss.item()
    return step


def conv():
    w = load_file(FOLDER + "/conv.safetensors")
    image = w.pop("img")
    for p in w.values():
        p.requires_grad_()

    def c(name, x, stride=1):
        return F.conv2d(x, w[name + ".w"], w[name + ".b"], stride, w[name + ".w"].shape[2] // 2)

    def gn(name, x):
        return F.silu(F.group_norm(x, 32, w[name + ".w"], w[name + ".b"], 1e-5))

    def res(name, x):
        h = c(name + ".c2", gn(name + ".n2", c(name + ".c1", gn(name + ".n1", x))))
        return h + (c(name + ".s", x) if name + ".s.w" in w else x)

    def up(x):
        return F.interpolate(x, scale_factor=2.0, mode="nearest")

    def step():
        x = res("r1", c("in", image))
        x = res("r2", c("d1", x, 2))
        x = res("r3", c("d2", x, 2))
        x = res("r4", c("u1", up(x)))
        x = res("r5", c("u2", up(x)))
        loss = ((c("out", gn("no", x)) - image) ** 2).mean()
        for p in w.values():
            p.grad = None
        loss.backward()
        return loss.item()
    return step


def moe():
    """A layer of experts: router, top-k, drops at 1.25 times an even share, experts, gates; 2048 tokens, d 512, f 2048. Two formulations:
    `padded` gives every expert as many rows as it has room for and multiplies all experts in one batched product; `sorted` multiplies the
    rows of one expert after the other, without empty places."""
    _, n_experts, k, kind = WHICH.split("-")
    e, k = int(n_experts), int(k)
    w = load_file(f"{FOLDER}/moe{e}.safetensors")
    # In the order that the products of PyTorch like best.
    w = {"x": w["x"], "wg": w["wg"].t().contiguous(), "w1": w["w1"].transpose(1, 2).contiguous(), "w2": w["w2"].transpose(1, 2).contiguous()}
    for p in w.values():
        p.requires_grad_()
    x, wg, w1, w2 = w.values()
    t = x.shape[0]
    c = -(-5 * t * k // (4 * e))

    def dispatch(chosen):
        """Of each choice, first ones before second ones: its expert, its place there, and whether there is room."""
        flat = chosen.t().reshape(-1)
        one_hot = F.one_hot(flat, e)
        place = (one_hot.cumsum(0) * one_hot).sum(-1) - 1
        return flat, place, place < c

    def padded(gates, chosen):
        with torch.no_grad():
            flat, place, kept = dispatch(chosen)
            slot = torch.where(kept, flat * c + place, e * c)
            token = torch.full((e * c + 1,), t, dtype=torch.long)
            token[slot] = torch.arange(t).repeat(k)
            token = token[:-1]
        rows = torch.cat([x, torch.zeros(1, x.shape[1])]).index_select(0, token).view(e, c, -1)
        y = torch.bmm(F.gelu(torch.bmm(rows, w1)), w2).view(e * c, -1)
        y = torch.cat([y, torch.zeros(1, x.shape[1])]).index_select(0, slot).view(k, t, -1)
        return (y * gates.t().unsqueeze(-1)).sum(0)

    def sorted_rows(gates, chosen):
        with torch.no_grad():
            flat, _, kept = dispatch(chosen)
            order = torch.argsort(torch.where(kept, flat, e), stable=True)[:int(kept.sum())]
            sizes = torch.bincount(flat[kept], minlength=e).tolist()
            token = order % t
        # Taken apart at once: indexing one expert after the other makes a gradient of all of them each time.
        parts = zip(x.index_select(0, token).split(sizes), w1.unbind(0), w2.unbind(0))
        y = torch.cat([F.gelu(part @ up) @ down for part, up, down in parts])
        y = y * gates.t().reshape(-1).index_select(0, order).unsqueeze(-1)
        return torch.zeros_like(x).index_add(0, token, y)

    run = {"padded": padded, "sorted": sorted_rows}[kind]

    def step():
        gates, chosen = torch.softmax(x @ wg, -1).topk(k, -1)
        loss = (run(gates, chosen) ** 2).mean()
        for p in w.values():
            p.grad = None
        loss.backward()
        return loss.item()
    return step


def timed(step):
    ms, losses = [], []
    for _ in range(ITERS):
        start = time.perf_counter()
        losses.append(step())
        ms.append((time.perf_counter() - start) * 1e3)
    return ms, losses


def decode():
    w = load_file(FOLDER + "/lm.safetensors")
    tokens = w.pop("tokens")[:1]
    with torch.inference_mode():
        past = [(torch.zeros(1, H, 512, D // H), torch.zeros(1, H, 512, D // H)) for _ in range(L)]
        state = {"next": decoder(w, tokens[:, :64], past, 0)[:, -1].argmax(-1, keepdim=True), "pos": 64}
        out = [state["next"].item()]

        def step():
            state["next"] = decoder(w, state["next"], past, state["pos"])[:, -1].argmax(-1, keepdim=True)
            state["pos"] += 1
            out.append(state["next"].item())
            return 0.0
        ms, _ = timed(step)
    return ms, [float(sum(out))]


ms, losses = decode() if WHICH == "decode" else timed({"train": train, "conv": conv, "moe": moe}[WHICH.split("-")[0]]())
print(json.dumps({"bench": WHICH, "ms": ms, "loss": losses, "rss_mb": round(peak_mb()), "torch": torch.__version__}))
