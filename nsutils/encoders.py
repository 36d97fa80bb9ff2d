"""From a picture to named features, relu1_1 ... relu5_1: the built-in `slim`, or VGG from a weight file."""

import os
import timeit
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nsutils import vgg
from nsutils.settings import HOW, PIXELS, Settings
from nsutils.statistics import full
from nsutils.targets import Known
from nsutils.vgg import Normalisation

SLIM_FILE = Path(__file__).parent / "weights" / "slim.safetensors"
# What makes features as large as the maximum's (crowsonkb/style-transfer-pytorch's numbers).
GAINS = {"max": 1.0, "average": 2.0, "l2": 0.78}
DRAWINGS = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Encoder(nn.Module):
    """A stack of 3x3 convolutions in blocks with VGG's names; a layer's features are taken after its ReLU.

    `arrays` holds `conv1_1.weight` (C, 3, 3, 3), `conv1_1.bias` (C,), `conv1_2.weight` ...; the names alone
    say how many blocks there are and how deep each is. Convolutions are computed in `precision`: float32 (on a CUDA
    card its TF32, PyTorch's default), bfloat16 or float16; pictures are float32 always.

    - `pooling`, between blocks, is average (Gatys et al. 2015, section 2, found that smoother), max, or l2. Where
      it is not the one that the network was `trained` with, features are scaled by GAINS to stay as large.
      Without `pooling_gain` they are not. With `ceil_mode` an odd last row or column is pooled as well.
    - `padding`, at borders, is reflect, so that a picture's edge looks like its middle, replicate, zeros, or
      replicate-first: that at the first convolution and zeros at the others.
    - `pixel_range` is white's number in the pictures that it is given. Above 1 they are the network's own input,
      the mean taken away (`inward`), for float32 is finest around 0, and published programs optimise just that.
    - Features are multiplied by `feature_scale`.
    - `told_by` is what the name was known from.
    """

    def __init__(
        self,
        arrays: Mapping[str, Tensor],
        normalisation: Normalisation,
        name: str,
        precision: str = "float32",
        told_by: str = "setting",
        pooling: str = "average",
        trained: str = "average",
        padding: str = "reflect",
        pooling_gain: bool = True,
        ceil_mode: bool = False,
        pixel_range: float = 1.0,
        feature_scale: float = 1.0,
    ):
        super().__init__()
        self.pooling, self.padding, self.ceil_mode = pooling, padding, ceil_mode
        self.gain = GAINS[pooling] / GAINS[trained] if pooling_gain else 1.0
        self.pixel_range, self.feature_scale = pixel_range, feature_scale
        self.name, self.precision, self.told_by = name, precision, told_by
        self.convolutions, kind = nn.ModuleDict(), getattr(torch, precision)
        for key in sorted(key.removesuffix(".weight") for key in arrays if key.endswith(".weight")):
            weight = arrays[f"{key}.weight"].to(kind, copy=True, memory_format=torch.channels_last)
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, device="meta")
            bias = arrays[f"{key}.bias"].to(kind, copy=True)
            conv.load_state_dict({"weight": weight, "bias": bias}, assign=True)
            self.convolutions[key.replace("conv", "relu")] = conv
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1))
        offset = torch.tensor([pixel_range * mean for mean in normalisation.mean])
        self.register_buffer("offset", offset.view(1, 3, 1, 1))
        spread = torch.tensor([pixel_range * std for std in normalisation.std])
        self.register_buffer("std", spread.view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.statistics = Known()  # of styles

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers, from the picture inwards."""
        return tuple(self.convolutions)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def inward(self, picture: Tensor) -> Tensor:
        """The picture, 0 black to 1 white, in the units of `pixel_range`."""
        return picture if self.pixel_range == 1 else picture * self.pixel_range - self.offset

    def outward(self, image: Tensor) -> Tensor:
        """The image, in the units of `pixel_range`, as a picture, 0 black to 1 white."""
        return image if self.pixel_range == 1 else (image + self.offset) / self.pixel_range

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The features of `image` (N, 3, H, W), as `inward` makes it, at `layers`, each (N, C, h, w), not negative.

        They are in the encoder's precision. Computes no further than the deepest layer asked for. A layer in block
        b has h = H // 2**(b-1), with `ceil_mode` rounded up.
        """
        return dict(self.along(image, layers))

    def along(self, image: Tensor, layers: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The same, each layer as soon as it is there.

        A gradient goes back the way it came: the slopes of what is computed of a layer before the next one is asked
        for are found when their turn is there, and not all held at once.
        """
        wanted = set(self.check(layers))
        x = (image - self.mean if self.pixel_range == 1 else image) / self.std
        x = x.to(getattr(torch, self.precision), memory_format=torch.channels_last)
        for name, convolution in self.convolutions.items():
            if not wanted:
                break
            if name.endswith("_1") and name != "relu1_1":
                x = self.pooled(x)
            padding = self.padding_at(name)
            x = Rectified.apply(x, convolution.weight, convolution.bias, padding, name in wanted)
            if name in wanted:
                wanted.discard(name)
                yield name, x if self.feature_scale == 1 else self.feature_scale * x

    def size_at(self, layer: str, size: tuple[int, int]) -> tuple[int, int]:
        """How high and wide a layer's features of an image of that size are."""
        stride = stride_of(layer)
        up = stride - 1 if self.ceil_mode else 0
        return (size[0] + up) // stride, (size[1] + up) // stride

    def reach(self, layers: Iterable[str]) -> int:
        """How many pixels away the deepest of the layers sees, at most."""
        deepest = max(map(self.layers.index, self.check(layers)), default=-1)
        strides = {name: stride_of(name) for name in self.layers[: deepest + 1]}
        pooled = (stride // 2 for name, stride in strides.items() if name.endswith("_1"))
        return sum(strides.values()) + sum(pooled)

    def pooled(self, x: Tensor) -> Tensor:
        """Half as high and wide."""
        odd = {"ceil_mode": self.ceil_mode, "count_include_pad": False}
        if self.pooling == "max":
            x = F.max_pool2d(x, 2, ceil_mode=self.ceil_mode)
        elif self.pooling == "l2":
            # the floor keeps the root's gradient finite where nothing answers
            x = (4 * F.avg_pool2d(full(x).square(), 2, **odd) + 1e-12).sqrt().to(x.dtype)
        else:
            x = F.avg_pool2d(x, 2, **odd) if self.ceil_mode else Halved.apply(x)
        return x if self.gain == 1 else self.gain * x

    def padding_at(self, layer: str) -> str:
        """What is beyond the border for that layer's convolution: reflect, replicate or constant, zeros."""
        zeros = self.padding == "replicate-first" and layer != "relu1_1"
        if zeros or self.padding == "zeros":
            return "constant"
        return self.padding.removesuffix("-first")

    def check(self, layers: Iterable[str]) -> tuple[str, ...]:
        """The layers as given; ValueError if one is unknown here."""
        for name in (layers := tuple(layers)):
            if name not in self.convolutions:
                raise ValueError(
                    f"no layer {name!r} in {self.name}; it has {', '.join(self.layers)}"
                )
        return layers


class Rectified(torch.autograd.Function):
    """A convolution, a pixel of padding around it, and its ReLU. They hold no more than their result for the gradient.

    Where nobody has `asked` for that, they hold only where it is above 0: a byte in place of four, or of two.
    The gradient goes back by the transposed convolution, and in place where it can, for memory is slow: a slope that
    comes here is overwritten. The losses' are their own, and PyTorch's sums of several are new.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, padding: str, asked: bool) -> Tensor:
        zeros = int(padding == "constant")  # the convolution's own, without a copy
        padded = x if zeros else bordered(x, padding)
        result = F.conv2d(padded, weight, bias, padding=zeros).relu_()
        ctx.padding = padding
        # bool() is `> 0` where nothing is below, in a seventh of the time
        ctx.save_for_backward(result if asked else result.bool(), weight)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None, None, None, None]:
        lit, weight = ctx.saved_tensors
        whole = slope.is_contiguous(memory_format=torch.channels_last)
        masked = slope if whole else torch.empty_like(lit, dtype=slope.dtype)
        if lit.dtype == torch.bool:
            torch.mul(slope, lit.view(torch.uint8), out=masked)  # bool takes three times as long
        else:
            torch.ops.aten.threshold_backward.grad_input(slope, lit, 0, grad_input=masked)
        if ctx.padding == "constant":
            return F.conv_transpose2d(masked, weight, padding=1), None, None, None, None
        slope = F.conv_transpose2d(masked, weight)
        # what lies beyond the border is a copy of the row within, or of the one behind that
        within = 2 if ctx.padding == "reflect" else 1
        for dim in (-2, -1):
            slope.select(dim, within).add_(slope.select(dim, 0))
            slope.select(dim, -1 - within).add_(slope.select(dim, -1))
        return slope[..., 1:-1, 1:-1], None, None, None, None


def bordered(x: Tensor, mode: str) -> Tensor:
    """The features with a pixel more at each border, by `reflect` or `replicate` of PyTorch's `pad`."""
    if not x.is_cuda:
        return F.pad(x, (1, 1, 1, 1), mode=mode)
    # PyTorch's own would turn them round in memory there, and the convolution would turn them back
    rows, columns = (beyond(side, mode, x.device) for side in x.shape[-2:])
    return x.permute(0, 2, 3, 1)[:, rows[:, None], columns].permute(0, 3, 1, 2)


@lru_cache(1024)
def beyond(side: int, mode: str, device: torch.device) -> Tensor:
    """The numbers of a line of pixels and of what is to be seen beyond its ends."""
    within = 1 if mode == "reflect" else 0
    return torch.tensor([within, *range(side), side - 1 - within], device=device)


class Halved(torch.autograd.Function):
    """The averages of squares of two by two; PyTorch's own gradient of it takes two to four times as long."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.shape = x.shape[-2:]
        return F.avg_pool2d(x, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope: Tensor) -> Tensor:
        slope = F.interpolate(slope / 4, scale_factor=2)
        down, right = (n - m for n, m in zip(ctx.shape, slope.shape[-2:], strict=True))
        return F.pad(slope, (0, right, 0, down)) if down or right else slope


def stride_of(layer: str) -> int:
    """How many times smaller than the image a layer's features are, by its name: relu3_1 is in the third block."""
    return 1 if layer == PIXELS else 2 ** (int(layer[len("relu") : layer.index("_")]) - 1)


def load(
    name: str = "slim",
    weights: str | None = None,
    device: str | torch.device | None = None,
    precision: str = "auto",
    pixel_range: float = 1.0,
    **how: Any,
) -> Encoder:
    """The encoder of that name on `device`, or on the best device here; `how` as `Encoder` takes it.

    `precision` is float32, bfloat16, float16, or auto: bfloat16 where it is quicker than float32.

    `weights` is a file for the others (`nsutils.vgg.read`). Without it the environment variable NSUTILS_VGG19
    counts for a VGG-19, and then, for torchvision's vgg19 and vgg16, the cache folder; they are fetched once.
    Caffe's networks are given 0 to 255, or to `pixel_range` if that is above 1.
    """
    device = named(device) if device else best_device()
    precision = quickest(device) if precision == "auto" else precision
    how |= {"precision": precision, "pixel_range": pixel_range}
    if name == "slim":
        return Encoder(load_file(SLIM_FILE), DRAWINGS, name, **how).to(device)
    if file := own_file(name, weights):
        network = vgg.read(Path(file), name)
    elif name in vgg.CONVOLUTIONS:
        network = vgg.cached(name)
    else:
        raise ValueError(
            f"encoder {name!r} is not fetched: name its file with weights, or use encoder='slim'"
        )
    how |= {"told_by": network.told_by, "trained": "max"}
    normalisation = network.normalisation(pixel_range if pixel_range > 1 else 255)
    return Encoder(network.arrays, normalisation, network.name, **how).to(device)


def of(settings: Settings, **resolved: Any) -> Encoder:
    """The encoder that the settings ask for, but for what `resolved` says: name, precision, device."""
    asked = {name: getattr(settings, name) for name in HOW}
    return load(**{"name": settings.encoder} | asked | resolved)


def at_hand(settings: Settings) -> bool:
    """Whether the encoder's weights are here already, not to be fetched first."""
    name = settings.encoder
    return name == "slim" or bool(own_file(name, settings.weights)) or vgg.kept(name).exists()


def own_file(name: str, weights: str | None) -> str | None:
    """The weight file that is named for an encoder: by `weights`, else, for a VGG-19, by the environment."""
    return weights or (None if name.startswith("vgg16") else os.environ.get(vgg.VARIABLE))


def named(device: str | torch.device) -> torch.device:
    """The device of that name; ValueError if there is none here."""
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError):
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"no device {str(device)!r} here; use cpu, or leave it away")
    return found


def best_device() -> torch.device:
    """CUDA, else Apple's MPS, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@lru_cache
def quickest(device: torch.device) -> str:
    """bfloat16 where it is computed with: a processor is tried, once, for those that only pretend to are far slower."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    if device.type != "cpu":
        return "float32"
    seconds = {}
    for precision in ("float32", "bfloat16"):
        kind = {"dtype": getattr(torch, precision), "memory_format": torch.channels_last}
        x, weight = torch.ones(1, 64, 64, 64).to(**kind), torch.ones(64, 64, 3, 3).to(**kind)
        seconds[precision] = min(timeit.repeat(partial(F.conv2d, x, weight), number=1, repeat=4))
    return min(seconds, key=seconds.get)
