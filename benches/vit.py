"""The vision transformer of the benchmarks in PyTorch: the same architecture as ours, random weights."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """x + ls1(attention(norm1(x))), then x + ls2(mlp(norm2(x))); x is (B, N, C)."""

    def __init__(self, dim, heads, layer_scale):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        gamma = nn.Parameter(torch.rand(2, dim)) if layer_scale else None
        self.register_parameter("gamma", gamma)

    def attention(self, x):
        batch, tokens, dim = x.shape
        parts = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))

    def forward(self, x):
        attended = self.attention(self.norm1(x))
        x = x + (attended if self.gamma is None else self.gamma[0] * attended)
        mixed = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + (mixed if self.gamma is None else self.gamma[1] * mixed)


class Vit(nn.Module):
    """Images (B, 3, height, width) to normed tokens (B, 1 + N, C); position embeddings are of this size already."""

    def __init__(self, patch, dim, heads, depth, height, width, layer_scale):
        super().__init__()
        tokens = 1 + (height // patch) * (width // patch)
        self.embed = nn.Conv2d(3, dim, patch, patch)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, images):
        patches = self.embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(patches), -1, -1), patches], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
