"""Weights and inputs of the fixed workloads, the same for every candidate: make_weights.py FOLDER writes lm, moe8, moe64 and conv.safetensors."""
import os, sys
import numpy as np
from safetensors.numpy import save_file

OUT = sys.argv[1]
os.makedirs(OUT, exist_ok=True)
rng = np.random.default_rng(0)
V, D, L, F, B, S = 21128, 512, 6, 2048, 8, 256


def n(*shape, std=0.02):
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(std)


w = {"tok_emb": n(V, D), "pos_emb": n(512, D), "head": n(V, D), "lnf.w": 1 + n(D), "lnf.b": n(D),
     "tokens": rng.integers(0, V, (B, S + 1)).astype(np.int64)}
for i in range(L):
    w.update({f"l{i}.ln1.w": 1 + n(D), f"l{i}.ln1.b": n(D), f"l{i}.ln2.w": 1 + n(D), f"l{i}.ln2.b": n(D),
              f"l{i}.qkv.w": n(3 * D, D), f"l{i}.qkv.b": n(3 * D), f"l{i}.o.w": n(D, D), f"l{i}.o.b": n(D),
              f"l{i}.fc1.w": n(F, D), f"l{i}.fc1.b": n(F), f"l{i}.fc2.w": n(D, F), f"l{i}.fc2.b": n(D)})
save_file(w, OUT + "/lm.safetensors")
T, E = 2048, 8
moe = {"x": n(T, D, std=1.0), "wg": n(D, E).T, "w1": n(E, D, F).transpose(0, 2, 1), "w2": n(E, F, D).transpose(0, 2, 1)}
save_file({name: np.ascontiguousarray(value) for name, value in moe.items()}, OUT + "/moe8.safetensors")
del moe
CONVS = [("in", 3, 64, 3), ("r1.c1", 64, 64, 3), ("r1.c2", 64, 64, 3), ("d1", 64, 64, 3), ("r2.c1", 64, 128, 3),
         ("r2.c2", 128, 128, 3), ("r2.s", 64, 128, 1), ("d2", 128, 128, 3), ("r3.c1", 128, 128, 3), ("r3.c2", 128, 128, 3),
         ("u1", 128, 128, 3), ("r4.c1", 128, 64, 3), ("r4.c2", 64, 64, 3), ("r4.s", 128, 64, 1), ("u2", 64, 64, 3),
         ("r5.c1", 64, 64, 3), ("r5.c2", 64, 64, 3), ("out", 64, 3, 3)]
c = {"img": n(8, 3, 64, 64, std=1.0)}
for name, ci, co, k in CONVS:
    c[name + ".w"] = n(co, ci, k, k, std=1.0 / np.sqrt(ci * k * k))
    c[name + ".b"] = n(co)
for name, ch in [("r1.n1", 64), ("r1.n2", 64), ("r2.n1", 64), ("r2.n2", 128), ("r3.n1", 128), ("r3.n2", 128), ("r4.n1", 128),
                 ("r4.n2", 64), ("r5.n1", 64), ("r5.n2", 64), ("no", 64)]:
    c[name + ".w"] = 1 + n(ch)
    c[name + ".b"] = n(ch)
save_file(c, OUT + "/conv.safetensors")
# After everything else, so that the other files stay as they were.
E = 64
save_file({"x": n(T, D, std=1.0), "wg": n(E, D), "w1": n(E, F, D), "w2": n(E, D, F)}, OUT + "/moe64.safetensors")
