"""Networks of our own for the zoo: what textbooks and papers write by hand, each kind of layer in one small classifier.

    benchmarks.zoo.modules:EinsumAttention        as `model.name`, at 64×64

Each takes `num_classes`, and image (N, 3, 64, 64) float32 gives logits (N, num_classes).
"""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 64
"""Height and width of the images, in pixels."""


# ---------------------------------------------------------------------------------------------------- attention


class Patches(nn.Module):
    """Cut the image into patches of 8×8 pixels: 64 tokens, each with its place added."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Conv2d(3, width, 8, stride=8)
        self.place = nn.Parameter(torch.randn(1, (SIZE // 8) ** 2, width) * 0.1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, 64, width)."""
        return cast(Tensor, self.project(image).flatten(2).transpose(1, 2) + self.place)


class HandAttention(nn.Module):
    """Multi-head attention of the textbooks: two einsums around a softmax."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) → (N, T, width)."""
        count, length, width = tokens.shape
        shape = (count, length, self.heads, width // self.heads)
        query, key, value = (part(tokens).view(shape) for part in (self.query, self.key, self.value))
        scores = torch.einsum("nqhd,nkhd->nhqk", query, key) / math.sqrt(width // self.heads)
        mixed = torch.einsum("nhqk,nkhd->nqhd", scores.softmax(dim=-1), value)
        return cast(Tensor, self.out(mixed.reshape(count, length, width)))


class EinsumAttention(nn.Module):
    """Attention by einsum, with as many tokens as the width: no shape tells one axis from the other."""

    def __init__(self, num_classes: int, width: int = 64, depth: int = 2):
        super().__init__()
        self.patches = Patches(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth))
        self.attentions = nn.ModuleList(HandAttention(width, 4) for _ in range(depth))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)) for _ in range(depth)
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        tokens = self.patches(image)
        for number, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            tokens = tokens + attention(self.norms[2 * number](tokens))
            tokens = tokens + mlp(self.norms[2 * number + 1](tokens))
        return cast(Tensor, self.head(tokens.mean(dim=1)))


class MultiheadEncoder(nn.Module):
    """`nn.MultiheadAttention` with batch second, as its default is; a learned query reads the tokens at the end."""

    def __init__(self, num_classes: int, width: int = 48):
        super().__init__()
        self.patches = Patches(width)
        self.attention = nn.MultiheadAttention(width, 4)
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.randn(1, 1, width))
        self.read = nn.MultiheadAttention(width, 3, kdim=width, vdim=width, batch_first=True, add_bias_kv=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        tokens = self.patches(image).transpose(0, 1)  # (T, N, width)
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])
        tokens = tokens.transpose(0, 1)
        answer, weights = self.read(self.query.expand(tokens.shape[0], -1, -1), tokens, tokens)
        return cast(Tensor, self.head(answer[:, 0]) * (1 + weights.amax(dim=-1)))


class EncoderLayers(nn.Module):
    """`nn.TransformerEncoder`, of layers that normalise last and use ReLU."""

    def __init__(self, num_classes: int, width: int = 40):
        super().__init__()
        self.patches = Patches(width)
        layer = nn.TransformerEncoderLayer(width, 5, dim_feedforward=96, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        return cast(Tensor, self.head(self.encoder(self.patches(image)).amax(dim=1)))


class DotProductVit(nn.Module):
    """A vision transformer by `scaled_dot_product_attention`: class token, fused projections, a causal second block."""

    def __init__(self, num_classes: int, width: int = 64, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.patches = Patches(width)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.fused = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.outs = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.head = nn.Linear(width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        tokens = self.patches(image)
        tokens = torch.cat([tokens, self.token.expand(tokens.shape[0], -1, -1)], dim=1)  # (N, 65, width)
        for number, (fused, out) in enumerate(zip(self.fused, self.outs, strict=True)):
            parts = fused(self.norms[number](tokens)).unflatten(-1, (3, self.heads, -1))  # (N, T, 3, H, D)
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=number == 1)
            tokens = tokens + out(mixed.transpose(1, 2).flatten(2))
        return cast(Tensor, self.head(self.norms[2](tokens)[:, -1]))


class ShiftedWindows(nn.Module):
    """Attention in windows of a rolled picture, as Swin has it, written with views of six axes and a mask."""

    mask: Tensor

    def __init__(self, num_classes: int, width: int = 32):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4)  # (N, width, 16, 16)
        self.fused, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        region = (torch.arange(16) >= 14).long()
        regions = self.windows((region[:, None] * 2 + region)[None, :, :, None].float())[..., 0]  # (16, 16)
        self.register_buffer("mask", (regions[:, None] != regions[:, :, None]).float() * -100)
        self.head = nn.Linear(width, num_classes)

    @staticmethod
    def windows(picture: Tensor) -> Tensor:
        """(N, 16, 16, C) → (N · 16, 16, C): windows of 4×4."""
        count, _, _, width = picture.shape
        return picture.view(count, 4, 4, 4, 4, width).transpose(2, 3).reshape(count * 16, 16, width)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        picture = self.stem(image).permute(0, 2, 3, 1)
        count, _, _, width = picture.shape
        query, key, value = self.fused(self.windows(picture.roll((-2, -2), (1, 2)))).chunk(3, dim=-1)
        scores = (query @ key.mT).view(count, 16, 16, 16) / math.sqrt(width) + self.mask
        mixed = self.out(scores.view(-1, 16, 16).softmax(-1) @ value)
        whole = mixed.view(count, 4, 4, 4, 4, width).transpose(2, 3).reshape(count, 16, 16, width).roll((2, 2), (1, 2))
        return cast(Tensor, self.head((picture + whole).mean((1, 2))))


class GatedMixer(nn.Module):
    """RMSNorm and SwiGLU over tokens and over channels in turn, with rotated halves as rotary embeddings have them."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, num_classes: int, width: int = 48, tokens: int = 64):
        super().__init__()
        self.patches = Patches(width)
        angles = torch.arange(tokens)[:, None] / 100 ** (torch.arange(width // 2) / (width // 2))
        self.register_buffer("cosine", angles.cos().repeat(1, 2))
        self.register_buffer("sine", angles.sin().repeat(1, 2))
        self.norms = nn.ModuleList(nn.RMSNorm(size, eps=1e-6) for size in (width, width, width))
        self.across = nn.Linear(tokens, 2 * tokens)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)
        self.head = nn.Linear(width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        tokens = self.patches(image)
        first, second = tokens.chunk(2, dim=-1)
        tokens = tokens * self.cosine + torch.cat([-second, first], dim=-1) * self.sine
        tokens = tokens + functional.glu(self.across(self.norms[0](tokens).mT), dim=-1).mT
        gate, value = self.up(self.norms[1](tokens)).chunk(2, dim=-1)
        tokens = tokens + self.down(functional.silu(gate) * value)
        return cast(Tensor, self.head(self.norms[2](tokens).mean(dim=1)))


# ---------------------------------------------------------------------------------------------------- recurrence


class GruRows(nn.Module):
    """A GRU of two layers that reads the image row by row."""

    def __init__(self, num_classes: int, hidden: int = 48):
        super().__init__()
        self.gru = nn.GRU(3 * SIZE, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        outputs, _ = self.gru(image.permute(0, 2, 1, 3).flatten(2))  # (N, 64 rows, hidden)
        return cast(Tensor, self.head(outputs[:, -1]))


class LstmRows(nn.Module):
    """An LSTM that reads the rows in both directions, time first; outputs and last states are used."""

    def __init__(self, num_classes: int, hidden: int = 32):
        super().__init__()
        self.lstm = nn.LSTM(3 * SIZE, hidden, bidirectional=True)
        self.head = nn.Linear(6 * hidden, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        outputs, (hidden, cell) = self.lstm(image.permute(2, 0, 1, 3).flatten(2))  # (64 rows, N, 2 · hidden)
        states = torch.cat([outputs.mean(dim=0), hidden[0], hidden[1], cell[0], cell[1]], dim=1)
        return cast(Tensor, self.head(states))


class RnnColumns(nn.Module):
    """A plain RNN with ReLU over the columns of feature maps, from a learned first state."""

    def __init__(self, num_classes: int, hidden: int = 40):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.BatchNorm2d(8), nn.Tanh())
        self.rnn = nn.RNN(8 * 16, hidden, nonlinearity="relu", batch_first=True)
        self.start = nn.Parameter(torch.randn(1, 1, hidden))
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        columns = self.stem(image).permute(0, 3, 1, 2).flatten(2)  # (N, 16, 128)
        _, last = self.rnn(columns, self.start.expand(-1, columns.shape[0], -1).contiguous())
        return cast(Tensor, self.head(last[-1]))


# ---------------------------------------------------------------------------------------------------- convolution


class GroupNormMish(nn.Module):
    """A residual network with GroupNorm and Mish, and weights standardised as they are used."""

    class Block(nn.Module):
        """Two convolutions and a way around them."""

        def __init__(self, inner: int, outer: int, stride: int):
            super().__init__()
            self.first, self.second = nn.Conv2d(inner, outer, 3, stride, 1), nn.Conv2d(outer, outer, 3, 1, 1)
            self.norms = nn.ModuleList([nn.GroupNorm(4, outer), nn.GroupNorm(8, outer)])
            self.around = nn.Conv2d(inner, outer, 1, stride)
            self.act = nn.Mish()

        def forward(self, x: Tensor) -> Tensor:
            """(N, inner, H, W) → (N, outer, H / stride, W / stride)."""
            y = self.norms[1](self.standardised(self.act(self.norms[0](self.first(x)))))
            return cast(Tensor, self.act(y + self.around(x)))

        def standardised(self, x: Tensor) -> Tensor:
            """The second convolution, by weights of mean 0 and variance 1 per output."""
            weight = self.second.weight
            variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True)
            return functional.conv2d(x, (weight - mean) / torch.sqrt(variance + 1e-5) / 8, self.second.bias, padding=1)

    def __init__(self, num_classes: int):
        super().__init__()
        widths = (3, 16, 32, 48)
        self.blocks = nn.Sequential(*(self.Block(a, b, 2) for a, b in pairwise(widths)))
        self.head = nn.Linear(48, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        return cast(Tensor, self.head(self.blocks(image).mean((2, 3))))


class PaddedInstanceNorm(nn.Module):
    """InstanceNorm, and convolutions whose borders wrap around, mirror or repeat; uneven padding by `pad`."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.circular = nn.Conv2d(3, 16, 5, padding=2, padding_mode="circular")
        self.reflect = nn.Conv2d(16, 24, 3, stride=2, padding=1, padding_mode="reflect")
        self.replicate = nn.Conv2d(24, 32, (3, 5), padding=(1, 2), padding_mode="replicate")
        self.norms = nn.ModuleList(nn.InstanceNorm2d(width, affine=True) for width in (16, 24))
        self.last = nn.Conv2d(32, 32, 4, stride=4)
        self.head = nn.Linear(32 * 8 * 8, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        x = functional.leaky_relu(self.norms[0](self.circular(image)))
        x = functional.leaky_relu(self.norms[1](self.reflect(x)), 0.2)  # (N, 24, 32, 32)
        x = functional.pad(functional.relu(self.replicate(x)), (1, 2, 0, 1), mode="reflect")  # (N, 32, 33, 35)
        x = functional.pad(x, (-1, 1, 1, -2), value=0.5)  # (N, 32, 32, 35)
        return cast(Tensor, self.head(self.last(x).flatten(1)))


class SpatialTransformer(nn.Module):
    """A small network chooses an affine map, `affine_grid` and `grid_sample` apply it, and a second one classifies."""

    mirror: Tensor

    def __init__(self, num_classes: int):
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.Conv2d(8, 10, 5, stride=2), nn.ReLU(), nn.Flatten()
        )
        self.affine = nn.Linear(10 * 6 * 6, 6)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([0.9, 0.1, 0.05, -0.1, 1.1, -0.05]))
        self.register_buffer("mirror", torch.tensor([[[-1, 0, 0.125], [0, 1, -0.1875]]]))
        self.features = nn.Sequential(nn.Conv2d(3, 16, 5, stride=3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(16 * 10 * 10, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        theta = self.affine(self.locate(image)).view(-1, 2, 3)
        grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
        turned = functional.grid_sample(image, grid, align_corners=False)
        mirrored = functional.grid_sample(image, -grid, padding_mode="border", align_corners=True)
        # By whole pixels: half of one would be rounded up or down by the last bit.
        moved = functional.affine_grid(
            self.mirror.expand(image.shape[0], -1, -1), list(image.shape), align_corners=False
        )
        nearest = functional.grid_sample(image, moved, mode="nearest", padding_mode="reflection", align_corners=False)
        return cast(Tensor, self.head(self.features(turned + 0.5 * mirrored + 0.25 * nearest)))


class EncoderDecoder(nn.Module):
    """Down by strided convolutions, up by transposed ones (groups, output padding, dilation), classified at the end."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.up1 = nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1, groups=4)
        self.up2 = nn.ConvTranspose2d(32, 8, (4, 2), stride=2, padding=(1, 0))
        self.wide = nn.ConvTranspose2d(8, 8, 3, stride=1, padding=2, dilation=2, groups=8)
        self.norm1, self.norm2 = nn.BatchNorm2d(16), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16 * 16, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        half = functional.elu(self.down1(image))  # (N, 16, 32, 32)
        quarter = functional.elu(self.down2(half))  # (N, 32, 16, 16)
        up = functional.relu(self.norm1(self.up1(quarter)))  # (N, 16, 32, 32)
        picture = functional.relu6(self.norm2(self.up2(torch.cat([up, half], dim=1))))  # (N, 8, 64, 64)
        return cast(Tensor, self.head(functional.avg_pool2d(torch.sigmoid(self.wide(picture)), 4).flatten(1)))


class PixelShuffles(nn.Module):
    """Space to depth and back: PixelUnshuffle, PixelShuffle, unfold."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.first = nn.Conv2d(48, 36, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.third = nn.Linear(8 * 9, 16)
        self.head = nn.Linear(16 * 8 * 8, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        x = functional.relu(self.first(functional.pixel_unshuffle(image, 4)))  # (N, 36, 16, 16)
        x = functional.relu(self.second(functional.pixel_shuffle(x, 3)))  # (N, 8, 24, 24)
        patches = functional.unfold(x, 3, stride=3).mT  # (N, 64, 72)
        return cast(Tensor, self.head(functional.relu(self.third(patches)).flatten(1)))


class UnevenDepthwise(nn.Module):
    """Depthwise and grouped convolutions whose kernels, strides and dilations differ by axis."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=(2, 1), padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU6(),
            nn.Conv2d(24, 24, (5, 3), stride=(1, 2), padding=(4, 2), dilation=2, groups=24),  # stride and dilation
            nn.BatchNorm2d(24),
            nn.Hardswish(),
            nn.Conv2d(24, 48, 3, stride=2, padding=2, dilation=2, groups=24),  # two outputs of each input
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 48, (1, 7), padding="same", groups=6, bias=False),
            nn.Conv2d(48, 48, (7, 1), padding="same", dilation=(3, 1), groups=48),
            nn.BatchNorm2d(48),
            nn.SiLU(),
            nn.Conv2d(48, 32, 2, stride=3, padding=1),
        )
        self.head = nn.LazyLinear(num_classes)
        self.head(self.features(torch.zeros(2, 3, SIZE, SIZE)))

    def features(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, F)."""
        return cast(Tensor, self.layers(image).flatten(1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        return cast(Tensor, self.head(self.features(image)))


class Interpolations(nn.Module):
    """A pyramid resized in all of `interpolate`'s ways: cubic, linear, nearest, area; corners aligned; antialiased."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.mix = nn.Conv2d(8 * 7, 16, 1)
        self.last = nn.Conv2d(16, 16, 5, stride=5)
        self.head = nn.Linear(16 * 8 * 8, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        x, size = functional.relu(self.first(image)), (40, 40)  # (N, 8, 32, 32)
        small = functional.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
        parts = [
            functional.interpolate(x, size, mode="bicubic", align_corners=False),
            functional.interpolate(x, size, mode="bilinear", align_corners=True),
            functional.interpolate(x, scale_factor=1.25, mode="bilinear"),
            functional.interpolate(x, size, mode="nearest"),
            functional.interpolate(x, size, mode="nearest-exact"),
            functional.interpolate(small, size, mode="bicubic", align_corners=True),
            functional.interpolate(functional.interpolate(x, (16, 8), mode="area"), size, mode="nearest"),
        ]
        mixed = functional.relu(self.mix(torch.cat(parts, dim=1)))
        return cast(Tensor, self.head(self.last(mixed).flatten(1)))


class Poolings(nn.Module):
    """Pooling of every kind: uneven adaptive windows, ceiling, counted padding, dilation, and by a norm."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2)  # (N, 16, 31, 31)
        self.pools = nn.ModuleList(
            [
                nn.AdaptiveAvgPool2d((5, 7)),
                nn.AdaptiveAvgPool2d((None, 1)),
                nn.LPPool2d(2, 3, stride=4),
                nn.AvgPool2d(4, stride=3, padding=1, ceil_mode=True),
                nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
                nn.MaxPool2d(3, stride=2, padding=1, dilation=2, ceil_mode=True),
            ]
        )
        self.norm = nn.LocalResponseNorm(5)
        self.head = nn.LazyLinear(num_classes)
        self.head(self.features(torch.zeros(2, 3, SIZE, SIZE)))

    def features(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, F)."""
        x = self.norm(functional.softplus(self.first(image)))
        return torch.cat([pool(x).flatten(1) for pool in self.pools], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        return cast(Tensor, self.head(self.features(image)))


class Volumes(nn.Module):
    """Convolutions in one and three dimensions over the reshaped image, with pooling and normalisation of their own."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.line = nn.Sequential(
            nn.Conv1d(3, 8, 9, stride=4, padding=4), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(4),
            nn.Conv1d(8, 8, 5, stride=2, dilation=2, groups=2), nn.AvgPool1d(3),
        )  # fmt: skip
        self.volume = nn.Sequential(
            nn.Conv3d(1, 6, (3, 5, 5), stride=(1, 4, 4), padding=(1, 2, 2)), nn.BatchNorm3d(6), nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)), nn.ConvTranspose3d(6, 4, 2, stride=2), nn.AvgPool3d(2),
        )  # fmt: skip
        self.head = nn.LazyLinear(num_classes)
        self.head(self.features(torch.zeros(2, 3, SIZE, SIZE)))

    def features(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, F)."""
        return torch.cat([self.line(image.flatten(2)).flatten(1), self.volume(image[:, None]).flatten(1)], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        return cast(Tensor, self.head(self.features(image)))


class ChannelShuffles(nn.Module):
    """Grouped convolutions with shuffled channels, squeeze and excitation, and halves that go different ways."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.grouped = nn.ModuleList(nn.Conv2d(24, 24, 3, 1, 1, groups=groups) for groups in (3, 4))
        self.shuffle = nn.ChannelShuffle(3)
        self.squeeze, self.excite = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)
        self.local = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.head = nn.Conv2d(24, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        x = functional.max_pool2d(self.stem(image), 3, 2, 1)  # (N, 24, 16, 16)
        x = functional.relu(self.shuffle(self.grouped[0](x)))
        x = x.view(-1, 4, 6, 16, 16).transpose(1, 2).reshape(-1, 24, 16, 16)
        x = functional.relu(self.grouped[1](x))
        gate = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))
        first, second = (x * functional.hardsigmoid(self.excite(gate))).chunk(2, dim=1)
        x = torch.stack([first, self.local(second)], dim=2).flatten(1, 2)  # the halves interleaved
        return cast(Tensor, self.head(x).mean((2, 3)))


# ---------------------------------------------------------------------------------------------------- arithmetic


class Selections(nn.Module):
    """Tokens chosen, counted and put back: topk, gather, argmax, one-hot, cumsum, where, scatter, sort."""

    def __init__(self, num_classes: int, width: int = 32):
        super().__init__()
        self.patches = Patches(width)
        self.score = nn.Linear(width, 1)
        self.embed = nn.Embedding(8, width)
        self.mix = nn.Linear(3 * width, width)
        self.head = nn.Linear(width + 24, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        tokens = self.patches(image)  # (N, 64, 32)
        scores, places = self.score(tokens)[..., 0].topk(16, dim=1)
        chosen = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))  # (N, 16, 32)
        chosen = chosen * torch.sigmoid(scores)[..., None]
        kinds = chosen[..., :8].argmax(dim=-1)
        counts = functional.one_hot(kinds, 8).float().cumsum(dim=1).flatten(1)  # (N, 128)
        sums = chosen.cumsum(dim=1) / 4
        signs = torch.where(chosen > sums, chosen, -sums.abs())
        mixed = torch.tanh(self.mix(torch.cat([sums, signs, self.embed(kinds)], dim=-1)))
        index = places[..., None].expand(-1, -1, tokens.shape[2])
        back = tokens.scatter(1, index, mixed).cumsum(dim=1)[:, ::7].mean(dim=1)  # (N, 32)
        ranked = counts.view(-1, 16, 8)[:, 5::5].flatten(1).sort(dim=1, descending=True).values  # (N, 24)
        return cast(Tensor, self.head(torch.cat([back, ranked / 8], dim=1)))


class Activations(nn.Module):
    """Each activation PyTorch has, on two channels of its own."""

    KINDS: tuple[type[nn.Module], ...] = (
        nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign,
        nn.LogSigmoid, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink,
        nn.Tanhshrink, nn.PReLU,
    )  # fmt: skip

    def __init__(self, num_classes: int):
        super().__init__()
        self.acts = nn.ModuleList(
            [*(kind() for kind in self.KINDS), nn.GELU("tanh"), nn.Threshold(0.1, -0.2), nn.Softmax2d()]
        )
        width = 2 * len(self.acts)
        self.first = nn.Conv2d(3, width, 5, stride=4, padding=2)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 32, 4, stride=4)
        self.head = nn.Linear(32 * 16, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        parts = (3 * self.norm(self.first(image))).split(2, dim=1)
        x = torch.cat([act(part) for act, part in zip(self.acts, parts, strict=True)], dim=1)
        return cast(Tensor, self.head(functional.log_softmax(self.second(x), dim=1).flatten(1)))


class Reductions(nn.Module):
    """Statistics over axes of every kind: standard deviation, logsumexp, norms, products, extremes, covariance."""

    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, stride=4, padding=3), nn.BatchNorm2d(width), nn.Tanh())
        self.head = nn.Linear(width * width + 6 * width + 16, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 64, 64) → (N, K)."""
        x = self.stem(image)  # (N, 16, 16, 16)
        flat = x.flatten(2)
        centred = flat - flat.mean(dim=2, keepdim=True)
        covariance = torch.bmm(centred, centred.mT) / flat.shape[2]  # (N, 16, 16)
        rooted = torch.sign(covariance) * torch.sqrt(covariance.abs() + 1e-4)
        statistics = [
            functional.normalize(rooted.flatten(1), dim=1),
            flat.std(dim=2),
            flat.logsumexp(dim=2) / 8,
            torch.linalg.vector_norm(flat, ord=1, dim=2) / 64,
            x.amax((2, 3)) - x.amin((2, 3)),
            (1 + x.mean(dim=3) / 4).prod(dim=2),
            torch.clamp(flat, -0.5, 0.5).pow(3).sum(dim=2) / 8,
            torch.exp(-x.var((1, 3), unbiased=False)),
        ]
        return cast(Tensor, self.head(torch.cat(statistics, dim=1)))
