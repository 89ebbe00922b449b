"""The paper's training step in PyTorch, as the public code runs it: what the `step` benchmark measures ours against.

Prints one JSON line per measured step (seconds) and one with the peak resident set at the end. It is told when to
step by lines on its standard input, so that the two programs take turns on the same cores.
"""

import json
import math
import os
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

PATCH, DIM, DEPTH, HEADS, OUT = 16, 192, 12, 3, 4096
BATCH = int(os.environ.get("BATCH", "8"))
GLOBALS, LOCALS = 2, 6


def drop_path(x, p, training):
    if p == 0.0 or not training:
        return x
    keep = 1 - p
    mask = (keep + torch.rand((x.shape[0],) + (1,) * (x.ndim - 1))).floor_()
    return x.div(keep) * mask


class Block(nn.Module):
    def __init__(self, dim, heads, p):
        super().__init__()
        self.heads, self.scale, self.p = heads, (dim // heads) ** -0.5, p
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def attend(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if os.environ.get("SDPA"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, n, c))

    def forward(self, x):
        x = x + drop_path(self.attend(self.norm1(x)), self.p, self.training)
        return x + drop_path(self.fc2(F.gelu(self.fc1(self.norm2(x)))), self.p, self.training)


class Backbone(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.grid = 224 // PATCH
        self.proj = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DIM))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, DIM))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        rates = [p * i / (DEPTH - 1) for i in range(DEPTH)]
        self.blocks = nn.ModuleList([Block(DIM, HEADS, rate) for rate in rates])
        self.norm = nn.LayerNorm(DIM, eps=1e-6)

    def positions(self, n):
        if n == self.grid:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, self.grid, self.grid, DIM).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, scale_factor=(n + 0.1) / self.grid, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, DIM)], 1)

    def forward(self, x):
        n = x.shape[-1] // PATCH
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.positions(n)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(DIM, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256)
        )
        self.last_layer = nn.utils.weight_norm(nn.Linear(256, OUT, bias=False))
        self.last_layer.weight_g.data.fill_(1)
        self.last_layer.weight_g.requires_grad = False

    def forward(self, x):
        return self.last_layer(F.normalize(self.mlp(x), dim=-1, p=2))


class MultiCrop(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.backbone, self.head = Backbone(p), Head()

    def forward(self, *crops):
        """Crops grouped by size: one pass of the backbone for each size, one of the head for all."""
        return self.head(torch.cat([self.backbone(torch.cat(group)) for group in crops]))


def loss_of(student, teacher, center, temperature):
    student = (student / 0.1).chunk(GLOBALS + LOCALS)
    target = F.softmax((teacher - center) / temperature, dim=-1).detach().chunk(2)
    total, terms = 0, 0
    for i, q in enumerate(target):
        for j, s in enumerate(student):
            if i != j:
                total = total + torch.sum(-q * F.log_softmax(s, dim=-1), dim=-1).mean()
                terms += 1
    return total / terms


def main():
    torch.manual_seed(0)
    student, teacher = MultiCrop(0.1), MultiCrop(0.0)
    teacher.load_state_dict(student.state_dict())
    for p in teacher.parameters():
        p.requires_grad = False
    named = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
    decayed = [p for n, p in named if not (n.endswith(".bias") or p.ndim == 1)]
    plain = [p for n, p in named if n.endswith(".bias") or p.ndim == 1]
    optimiser = torch.optim.AdamW([{"params": decayed}, {"params": plain, "weight_decay": 0.0}])
    center = torch.zeros(1, OUT)
    large = [torch.randn(BATCH, 3, 224, 224) for _ in range(GLOBALS)]
    small = [torch.randn(BATCH, 3, 96, 96) for _ in range(LOCALS)]

    def step():
        nonlocal center
        for i, group in enumerate(optimiser.param_groups):
            group["lr"] = 1e-5
            group["weight_decay"] = 0.04 if i == 0 else 0.0
        of_teacher = teacher(large)
        loss = loss_of(student(large, small), of_teacher, center, 0.04)
        with torch.no_grad():
            center = center * 0.9 + of_teacher.sum(0, keepdim=True) / len(of_teacher) * 0.1
        if not math.isfinite(loss.item()):
            sys.exit("loss is not finite")
        optimiser.zero_grad()
        loss.backward()
        for _, p in named:
            if p.grad is not None:
                scale = 3.0 / (p.grad.data.norm(2) + 1e-6)
                if scale < 1:
                    p.grad.data.mul_(scale)
        optimiser.step()
        with torch.no_grad():
            for q, k in zip(student.parameters(), teacher.parameters()):
                k.data.mul_(0.996).add_((1 - 0.996) * q.detach().data)
        return loss.item()

    if os.environ.get("PROFILE"):
        step()
        with torch.profiler.profile() as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))
        return
    for line in sys.stdin:
        start = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "loss": loss, "peak_bytes": peak}), flush=True)


main()
