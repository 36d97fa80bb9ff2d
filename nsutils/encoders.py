"""From a picture to named features, relu1_1 ... relu5_1: the built-in `slim`, and VGG-19 from a weight file."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
import torch.nn.functional as F
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

SLIM_FILE = Path(__file__).parent / "weights" / "slim.safetensors"
VGG19_VARIABLE = "NSUTILS_VGG19"  # names a weight file, as `weights` does
VGG19_BLOCKS = (2, 2, 4, 4, 4)


class Normalisation(NamedTuple):
    """What a network's pictures are shifted and scaled by, per channel, before its first convolution."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


DRAWINGS = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Encoder(nn.Module):
    """A stack of 3x3 convolutions in blocks with VGG's names; a layer's features are taken after its ReLU.

    `arrays` holds `conv1_1.weight` (C, 3, 3, 3), `conv1_1.bias` (C,), `conv1_2.weight` ...; the names alone
    say how many blocks there are and how deep each is. Between blocks the picture is halved by averaging
    (Gatys et al. 2015, section 2, found that smoother than the maximum), and borders are reflected, not
    filled with zeros, so that a picture's edge looks like its middle. Convolutions are computed in
    `precision`, float32 or bfloat16; pictures and features are float32 always.
    """

    def __init__(
        self,
        arrays: Mapping[str, Tensor],
        normalisation: Normalisation,
        name: str,
        precision: str = "float32",
    ):
        super().__init__()
        self.name, self.precision = name, precision
        self.convolutions = nn.ModuleDict()
        for key in sorted(key.removesuffix(".weight") for key in arrays if key.endswith(".weight")):
            weight = arrays[f"{key}.weight"].float()
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3)
            conv.load_state_dict({"weight": weight, "bias": arrays[f"{key}.bias"].float()})
            self.convolutions[key.replace("conv", "relu")] = conv
        self.convolutions.to(getattr(torch, precision), memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1))
        self.requires_grad_(False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers, from the picture inwards."""
        return tuple(self.convolutions)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The features of `image` (N, 3, H, W) in [0, 1] at `layers`, each (N, C, h, w), not negative.

        Computes no further than the deepest layer asked for. A layer in block b has h = H // 2**(b-1).
        """
        wanted = set(self.check(layers))
        x, features = (image - self.mean) / self.std, {}
        x = x.to(getattr(torch, self.precision), memory_format=torch.channels_last)
        for name, convolution in self.convolutions.items():
            if len(features) == len(wanted):
                break
            if name.endswith("_1") and name != "relu1_1":
                x = F.avg_pool2d(x, 2)
            x = F.relu(convolution(F.pad(x, (1, 1, 1, 1), mode="reflect")))
            if name in wanted:
                features[name] = x.float()
        return features

    def check(self, layers: Iterable[str]) -> tuple[str, ...]:
        """The layers as given; ValueError if one is unknown here."""
        for name in (layers := tuple(layers)):
            if name not in self.convolutions:
                raise ValueError(
                    f"no layer {name!r} in {self.name}; it has {', '.join(self.layers)}"
                )
        return layers


def load(
    name: str = "slim",
    weights: str | None = None,
    device: str | torch.device | None = None,
    precision: str = "auto",
) -> Encoder:
    """The encoder of that name on `device`, or on the best device here.

    `precision` is float32, bfloat16, or auto: bfloat16 where it is the quicker.

    `weights` is a file for vgg19: torchvision's `vgg19-dcbb9e9d.pth`, or the kit's own safetensors. Without
    it the environment variable NSUTILS_VGG19 counts, then the cache folder, then they are fetched.
    """
    device = torch.device(device or best_device())
    precision = quickest(device) if precision == "auto" else precision
    if name == "slim":
        return Encoder(load_file(SLIM_FILE), DRAWINGS, name, precision).to(device)
    file = weights or os.environ.get(VGG19_VARIABLE)
    return Encoder(read(Path(file)) if file else cached(), IMAGENET, name, precision).to(device)


def best_device() -> torch.device:
    """CUDA, else Apple's MPS, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def quickest(device: torch.device) -> str:
    """bfloat16 on a processor that computes with it: tried, for those that only pretend to are far slower."""
    if device.type != "cpu":
        return "float32"
    seconds = {}
    for precision in ("float32", "bfloat16"):
        kind = {"dtype": getattr(torch, precision), "memory_format": torch.channels_last}
        x, weight = torch.ones(1, 64, 64, 64).to(**kind), torch.ones(64, 64, 3, 3).to(**kind)
        took = []
        for _ in range(4):
            begun = time.perf_counter()
            F.conv2d(x, weight)
            took.append(time.perf_counter() - begun)
        seconds[precision] = min(took)
    return min(seconds, key=seconds.get)


def read(path: Path) -> dict[str, Tensor]:
    """VGG-19's convolutions from a file: conv1_1.weight (64, 3, 3, 3), conv1_1.bias (64,) ... conv5_4.bias."""
    if not path.is_file():
        raise ValueError(
            f"no weights at {str(path)!r}; give torchvision's vgg19-dcbb9e9d.pth, or use encoder='slim'"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        arrays = torch.load(path, map_location="cpu", weights_only=True)
        return convolutions(arrays)
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        UnpicklingError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{str(path)!r} does not hold VGG-19's weights ({reason}); fetch it again, or use encoder='slim'"
        ) from error


def convolutions(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolutions of torchvision's `features.0.weight`, `features.2.weight` ... under VGG's own names."""
    places = sorted(
        int(key.split(".")[1])
        for key in arrays
        if key.startswith("features.") and key.endswith(".weight")
    )
    names = [
        f"conv{block}_{n}"
        for block, depth in enumerate(VGG19_BLOCKS, 1)
        for n in range(1, depth + 1)
    ]
    if len(places) != len(names):
        raise ValueError(f"{len(places)} convolutions where VGG-19 has {len(names)}")
    return {
        f"{name}.{part}": arrays[f"features.{place}.{part}"].contiguous()
        for name, place in zip(names, places, strict=True)
        for part in ("weight", "bias")
    }


def cached(url: str | None = None, folder: Path | None = None) -> dict[str, Tensor]:
    """VGG-19's convolutions from the user's cache folder; fetched once, then kept without the classifier."""
    folder = folder or user_cache_path("nsutils")
    kept = folder / "vgg19.safetensors"
    if not kept.exists():
        file = fetched(url or torchvision_url(), folder)
        arrays = read(file)
        save_file(arrays, aside := kept.with_suffix(".aside"))
        os.replace(aside, kept)
        file.unlink()
    return read(kept)


def fetched(url: str, folder: Path) -> Path:
    """The file at `url` in `folder`, whole: the eight digits in its name are the start of its SHA-256."""
    name = url.rsplit("/", 1)[1]
    digits, file = Path(name).stem.rsplit("-", 1)[1], folder / name
    way_out = (
        f"Fetch {name} from {url} by other means and put it into {folder}, or name it with --weights or "
        f"{VGG19_VARIABLE}; encoder='slim' needs no download."
    )
    folder.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        arriving = file.with_suffix(".part")
        try:
            download(url, arriving)
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            raise ValueError(
                f"VGG-19's weights could not be fetched ({error}). {way_out}"
            ) from error
        os.replace(arriving, file)
    if not sha256(file).startswith(digits):
        file.unlink()
        raise ValueError(
            f"{name} did not arrive whole: its SHA-256 does not begin with {digits}. Try again. {way_out}"
        )
    return file


def download(url: str, file: Path) -> None:
    """Writes what is at `url` to the file, with a progress bar."""
    print(f"Fetching {url} to {file.parent}")
    with urllib.request.urlopen(url, timeout=60) as answer, file.open("wb") as stream:
        length = int(answer.headers.get("Content-Length", 0)) or None
        with tqdm(total=length, unit="B", unit_scale=True) as bar:
            while chunk := answer.read(1 << 20):
                stream.write(chunk)
                bar.update(len(chunk))


def torchvision_url() -> str:
    """Where torchvision keeps VGG-19's ImageNet weights. The only use of torchvision, which is slow to import."""
    try:
        from torchvision.models import VGG19_Weights
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"torchvision does not go with this torch ({error}): install both from one place, "
            "or use --weights FILE, or encoder='slim'"
        ) from error
    return VGG19_Weights.IMAGENET1K_V1.url


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
