# The network of the benchmark in PyTorch on the CPU. Arguments and turns as in epoch_keras.py.
import gzip
import json
import os
import resource
import sys
import time

import numpy as np
import torch
from torch import nn

torch.set_num_threads(int(sys.argv[3]))
torch.manual_seed(1)


def read(name, skip):
    for end in ("", ".gz"):
        path = os.path.join(sys.argv[1], name + end)
        if os.path.exists(path):
            return np.frombuffer((gzip.open if end else open)(path, "rb").read(), "u1")[skip:]
    sys.exit(f"{name} is not in {sys.argv[1]}")


def part(name):
    x = read(f"{name}-images-idx3-ubyte", 16).reshape(-1, 784).astype("float32") / 255
    return torch.from_numpy(x), torch.from_numpy(read(f"{name}-labels-idx1-ubyte", 8).astype("int64"))


(x, y), (vx, vy) = part("train"), part("t10k")
m = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 10))
optimizer = torch.optim.Adam(m.parameters(), lr=0.001, eps=1e-7, fused=True)
loss = nn.CrossEntropyLoss()


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


while sys.stdin.readline():
    wall, used = time.monotonic(), cpu()
    m.train()
    order = torch.randperm(len(x))
    for i in range(0, len(x), 128):
        rows = order[i : i + 128]
        optimizer.zero_grad(set_to_none=True)
        loss(m(x[rows]), y[rows]).backward()
        optimizer.step()
    m.eval()
    right = 0
    with torch.inference_mode():
        for i in range(0, len(vx), 128):
            right += int((m(vx[i : i + 128]).argmax(1) == vy[i : i + 128]).sum())
    print(json.dumps({"wall": time.monotonic() - wall, "cpu": cpu() - used, "accuracy": right / len(vx)}), flush=True)
