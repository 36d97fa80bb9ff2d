"""Weight files of VGG-16 and VGG-19: told apart, read safely, fetched once."""

import http.client
import shutil
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from platformdirs import user_cache_path
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from nsutils import pictures
from nsutils.settings import ENCODERS, VGG

VARIABLE = "NSUTILS_VGG19"  # names a weight file of a VGG-19, as `weights` does
CONVOLUTIONS = {
    name: [layer.replace("relu", "conv") for layer in ENCODERS[name]] for name in ("vgg19", "vgg16")
}
DAY = 86_400  # seconds: a part that lies so long belongs to a fetch that was killed
AGAINST = "setting, against the file's name"
# How the SHA-256 of the files that are known begins, which their names tell as well.
DIGITS = {
    "dcbb9e9d": "vgg19",
    "397923af": "vgg16",
    "d01eb7cb": "vgg19-caffe",
    "00b39a1b": "vgg16-caffe",
}


class Normalisation(NamedTuple):
    """What a network's pictures are shifted and scaled by, per channel, before its first convolution."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE_MEAN = (123.68, 116.779, 103.939)  # of pixels from 0 to 255


class Network(NamedTuple):
    """A published network and what told which it is.

    `arrays` are conv1_1.weight (64, 3, 3, 3), conv1_1.bias (64,) ... for pictures in red, green, blue: the
    first convolution of a network that was trained on blue, green, red is turned round when it is read.
    """

    name: str
    arrays: dict[str, Tensor]
    told_by: str

    def normalisation(self, white: float) -> Normalisation:
        """What the network expects; Caffe's are given 0 to `white`, less the mean pixel."""
        if not self.name.endswith("-caffe"):
            return IMAGENET
        return Normalisation(tuple(mean / white for mean in CAFFE_MEAN), 3 * (1 / white,))


def read(path: Path, name: str = VGG) -> Network:
    """The network in a weight file; `name` says which it must be, or `vgg` that the file shall tell.

    Known are torchvision's files and the kit's own, and of Caffe's networks, which all have `-caffe` in their
    name: those converted with torchvision's keys, Gatys' `vgg_conv.pth`, and MatConvNet's `.mat`. Keys and
    shapes tell them apart, but for torchvision's and Caffe's with the same keys: there `name` decides, else
    the file's hash, else the digits in its name. ValueError, in one line, where nothing does, or where the
    file is damaged or another's.
    """
    if not path.is_file():
        raise ValueError(
            f"no weights at {str(path)!r}; name the file that has them, or use encoder='slim'"
        )
    try:
        arrays, origin, told_by = READERS.get(path.suffix, from_torch)(path)
        depth = depth_of(arrays)
    except Exception as error:  # whatever a file that is none, or a damaged one, brings up
        told = isinstance(error, OSError | ValueError) and str(error)
        reason = told.splitlines()[0] if told else "no file of tensors, or cut off"
        raise ValueError(
            f"{str(path)!r} does not hold VGG's weights ({reason}); fetch it again, or use encoder='slim'"
        ) from error
    if origin is None:
        origin, told_by = origin_of(path, name)
    found = depth + origin
    if name not in (VGG, found):
        raise ValueError(
            f"{str(path)!r} holds {found} by its keys and shapes, and not {name}; use encoder={found!r}"
        )
    if origin and path.suffix not in READERS:
        arrays["conv1_1.weight"] = arrays["conv1_1.weight"].flip(1).contiguous()
    return Network(found, arrays, told_by)


def origin_of(path: Path, name: str) -> tuple[str, str]:
    """`-caffe` or nothing for a file whose keys do not tell, and what told it."""
    if name != VGG:
        against = DIGITS.get(path.stem[-8:], name) != name
        return name[len("vgg00") :], AGAINST if against else "setting"
    for told_by, digits in {"hash": pictures.hash_of(path)[:8], "name": path.stem[-8:]}.items():
        if digits in DIGITS:
            return DIGITS[digits][len("vgg00") :], told_by
    raise ValueError(
        f"{str(path)!r} may be torchvision's or Caffe's: their keys are the same, and neither hash nor name is "
        "known; say --encoder vgg19 or --encoder vgg19-caffe (vgg16 likewise)"
    )


def depth_of(arrays: Mapping[str, Tensor]) -> str:
    """vgg19 or vgg16, by the convolutions' names; ValueError if they are neither's or do not follow each other."""
    for depth, names in CONVOLUTIONS.items():
        if {f"{name}.{part}" for name in names for part in ("weight", "bias")} == set(arrays):
            channels = 3
            for name in names:
                wide, deep, *kernel = arrays[f"{name}.weight"].shape
                if (deep, kernel) != (channels, [3, 3]) or arrays[f"{name}.bias"].shape != (wide,):
                    raise ValueError(f"{name} is {tuple(arrays[f'{name}.weight'].shape)}")
                if not all(
                    arrays[f"{name}.{part}"].isfinite().all() for part in ("weight", "bias")
                ):
                    raise ValueError(f"{name} has values that are no numbers")
                channels = wide
            return depth
    raise ValueError(f"{len(arrays) // 2} convolutions where VGG-19 has 16 and VGG-16 has 13")


# Readers: a file's arrays under VGG's own names, its origin ("-caffe", "", or None where it does not tell), and
# what told it.


def from_safetensors(path: Path) -> tuple[dict[str, Tensor], str | None, str]:
    with safe_open(path, "pt") as file:
        name = (file.metadata() or {}).get("encoder")
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, it is no mapping
    return arrays, None if name is None else name[len("vgg00") :], "note inside"


def from_torch(path: Path) -> tuple[dict[str, Tensor], str | None, str]:
    arrays = torch.load(path, map_location="cpu", weights_only=True)
    if "conv1_1.weight" in arrays:
        return dict(arrays), "-caffe", "keys"
    return convolutions(arrays), None, ""


def from_matconvnet(path: Path) -> tuple[dict[str, Tensor], str | None, str]:
    from scipy.io import loadmat

    arrays = {}
    for layer in loadmat(path, simplify_cells=True)["layers"]:
        if layer["type"] == "conv" and layer["name"].startswith("conv"):
            parts = layer["weights"] if "weights" in layer else (layer["filters"], layer["biases"])
            kernel, bias = (torch.from_numpy(part).float() for part in parts)
            arrays[f"{layer['name']}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
            arrays[f"{layer['name']}.bias"] = bias.flatten()
    return arrays, "-caffe", "layers"


READERS = {".safetensors": from_safetensors, ".mat": from_matconvnet}


def convolutions(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolutions of torchvision's `features.0.weight`, `features.2.weight` ... under VGG's own names."""
    places = sorted(
        int(key.split(".")[1])
        for key in arrays
        if key.startswith("features.") and key.endswith(".weight")
    )
    names = next((names for names in CONVOLUTIONS.values() if len(names) == len(places)), None)
    if names is None:
        raise ValueError(f"{len(places)} convolutions where VGG-19 has 16 and VGG-16 has 13")
    return {
        f"{name}.{part}": arrays[f"features.{place}.{part}"].contiguous()
        for name, place in zip(names, places, strict=True)
        for part in ("weight", "bias")
    }


def cached(name: str) -> Network:
    """torchvision's VGG-19 or VGG-16 from the user's cache folder; fetched once, kept without the classifier."""
    if (own := kept(name)).exists():
        with suppress(ValueError):  # a damaged one is fetched again
            return read(own, name)
    with fetched(torchvision_url(name), own.parent) as file:
        network = read(file, name)
        pictures.write(own, save(network.arrays, {"encoder": name}))
    return read(own, name)


def kept(name: str) -> Path:
    """Where torchvision's weights are kept once they are fetched."""
    return user_cache_path("nsutils") / f"{name}.safetensors"


@contextmanager
def fetched(url: str, folder: Path) -> Iterator[Path]:
    """The file at `url` in `folder`, whole: the eight digits in its name are the start of its SHA-256.

    One that lies there already, which goes when it has been used, or one of this caller's own, which goes in any case:
    several may fetch it at the same time.
    """
    name = url.rsplit("/", 1)[1]
    digits, file = Path(name).stem.rsplit("-", 1)[1], folder / name
    way_out = (
        f"Fetch {name} from {url} by other means and put it into {folder}, or give it as weights (--weights FILE) or "
        f"in {VARIABLE}; encoder='slim' needs no download."
    )
    if file.exists():
        if not pictures.hash_of(file).startswith(digits):
            raise ValueError(
                f"{str(file)!r} is not whole: its SHA-256 does not begin with {digits}. Wait until it is there, or "
                f"delete it. {way_out}"
            )
        yield file
        file.unlink(missing_ok=True)
        return
    file = folder / f".{uuid.uuid4().hex[:8]}-{name}"
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            clear(folder, name)
            download(url, file)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            raise ValueError(f"The weights could not be fetched ({error}). {way_out}") from error
        if not pictures.hash_of(file).startswith(digits):
            raise ValueError(
                f"{name} did not arrive whole: its SHA-256 does not begin with {digits}. Try again. {way_out}"
            )
        yield file
    finally:
        with suppress(OSError):  # there may be no folder
            file.unlink()


def clear(folder: Path, name: str) -> None:
    """Removes what was left of downloads that were killed."""
    for part in folder.glob(f".*-{name}"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > DAY:
                part.unlink()


def download(url: str, file: Path) -> None:
    """Writes what is at `url` to the file, with a progress bar."""
    print(f"Fetching {url} to {file.parent}")
    with urllib.request.urlopen(url, timeout=60) as answer, file.open("wb") as stream:
        length = int(answer.headers.get("Content-Length", 0)) or None
        how = {"bytes": False, "unit": "B", "unit_scale": True}
        with tqdm.wrapattr(stream, "write", length, **how) as counted:
            shutil.copyfileobj(answer, counted)


def torchvision_url(name: str) -> str:
    """Where torchvision keeps VGG's ImageNet weights. The only use of torchvision, which is slow to import."""
    try:
        from torchvision.models import VGG16_Weights, VGG19_Weights
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"torchvision does not go with this torch ({error}): install both from one place, "
            "or give weights (--weights FILE), or use encoder='slim'"
        ) from error
    return {"vgg16": VGG16_Weights, "vgg19": VGG19_Weights}[name].IMAGENET1K_V1.url
