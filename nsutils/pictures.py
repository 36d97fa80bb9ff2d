"""Picture files to tensors and back, and their sizes. A picture is (1, 3, H, W), float32, 0 black to 1 white."""

import base64
import hashlib
import io
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from nsutils.settings import escaped

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a camera's may have so many

SHINE = 16  # times white: as bright the lights of a floating picture may be
ORIENTATION, SIDEWAYS = 0x0112, range(5, 9)  # EXIF's tag, and its values for a camera held upright
ADDRESSES = ("http:", "https:", "ftp:", "data:", "file:")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def read(path: str | Path) -> Tensor:
    """The picture in a file, turned as its EXIF note says; transparency is laid on white."""
    return to_tensor(opened(path))


def opened(path: str | Path) -> Image.Image:
    """The picture in a file as an upright RGB image; ValueError, in one line, if there is none."""
    with reading(path) as image:
        return upright(image)


def shape(path: str | Path) -> tuple[int, int]:
    """(height, width) of the picture in a file, read from its head alone; ValueError as `opened`."""
    with reading(path) as image:
        if image.format == "TIFF":
            image.load()  # which turns it; before, its size and its note do not go together
        turned = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
        return image.size if turned else image.size[::-1]


@contextmanager
def reading(path: str | Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it; what goes wrong meanwhile is a ValueError of one line."""
    if str(path).lower().startswith(ADDRESSES):
        raise ValueError(f"no picture {path!r}: addresses are not fetched; save the file first")
    path = Path(path)
    if not os.path.exists(path):  # pathlib's own raises for a name that no file can have
        raise ValueError(f"no picture {str(path)!r}: there is no such file{_neighbours(path)}")
    if path.is_dir():
        way_out = "; name a file in it" if folder(path) else " without pictures"
        raise ValueError(f"no picture {str(path)!r}: it is a folder{way_out}")
    try:
        with Image.open(path) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"no picture {str(path)!r}: it has more than {2 * Image.MAX_IMAGE_PIXELS // 10**6} million pixels; "
            "make it smaller first"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not a picture that Pillow can read" if unknown else error
        raise ValueError(
            f"no picture {str(path)!r}: {reason}; give a JPEG, PNG, WebP or TIFF file"
        ) from error


def upright(image: Image.Image) -> Image.Image:
    """The image turned, in sRGB's colours, flattened on white, in three channels of 8 bits."""
    image = eight_bits(in_srgb(ImageOps.exif_transpose(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    plain = image.convert("RGB")
    plain.info = {}  # a comment would go into every file that is made of it
    return plain


def in_srgb(image: Image.Image) -> Image.Image:
    """The image in sRGB by the colour profile inside it; as it is where there is none, or one that does not fit."""
    if not (profile := image.info.get("icc_profile")):
        return image
    alpha = opacity(image)
    plain = image.convert("RGB") if image.mode in ("P", "PA", "RGBA") else image
    plain = plain.convert("L") if plain.mode == "LA" else plain
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        plain = ImageCms.profileToProfile(plain, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image
    if alpha:
        plain.putalpha(alpha)
    return plain


def alpha(path: str | Path) -> Image.Image | None:
    """How opaque the picture in a file is at each place, 8 bits, turned as `read` does; None if it is throughout."""
    with reading(path) as image:
        found = opacity(ImageOps.exif_transpose(image))
    return found if found and found.getextrema()[0] < 255 else None


def opacity(image: Image.Image) -> Image.Image | None:
    return image.convert("RGBA").getchannel("A") if image.has_transparency_data else None


def eight_bits(image: Image.Image) -> Image.Image:
    """Deeper grey images scaled to 8 bits: Pillow's own conversion would cut their lights off.

    White is 1, 255 or 65535, the least that no pixel exceeds; floating ones may shine some times as brightly.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    most = values.max(initial=0) / (SHINE if image.mode == "F" else 1)
    white = next((top for top in (1, 255, 65535) if most <= top), values.max())
    return Image.fromarray((values.clip(0, white) * (255 / white)).round().astype(np.uint8))


def folder(path: Path) -> list[Path]:
    """The picture files in a folder, by name, no hidden ones; none where there is no folder, or it may not be read."""
    with suppress(OSError):
        seen = (file for file in path.iterdir() if not file.name.startswith("."))
        return sorted(file for file in seen if file.suffix.lower() in SUFFIXES)
    return []


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div(255).contiguous()


def to_image(picture: Tensor) -> Image.Image:
    """The picture as 8 bits, values beyond black and white cut off."""
    flat = picture.detach()[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    return Image.fromarray(flat.cpu().numpy())


def resize(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """The picture at (height, width), bicubic, without aliasing."""
    if tuple(picture.shape[-2:]) == tuple(shape):
        return picture
    return F.interpolate(picture, size=shape, mode="bicubic", antialias=True).clamp(0, 1)


def fit(picture: Tensor, edge: int) -> Tensor:
    """The picture resized so that its long edge is `edge` pixels."""
    return resize(picture, fitted(picture.shape[-2:], edge))


def fitted(shape: tuple[int, int], edge: int) -> tuple[int, int]:
    """The shape, either side first, with its long edge at `edge` pixels."""
    one, other = shape
    scale = edge / max(one, other)
    return max(1, round(one * scale)), max(1, round(other * scale))


def thumbnail(image: Image.Image, edge: int) -> Image.Image:
    """The image, reduced or enlarged, with its long edge at `edge` pixels."""
    return image.resize(fitted(image.size, edge), Image.Resampling.LANCZOS)


def jpeg(image: Image.Image, quality: int = 88) -> bytes:
    """The image as a JPEG file's bytes."""
    return saved(image, "JPEG", quality=quality)


def in_html(alt: str, data: bytes, kind: str = "jpeg", more: str = "") -> str:
    """A picture file's bytes as a picture in HTML; `more` attributes stand as they are."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<img alt="{escaped(alt)}"{more and " "}{more} src="{source}">'


def png(image: Image.Image, notes: dict[str, str]) -> bytes:
    """The image as a PNG file's bytes, with text notes inside."""
    info = PngImagePlugin.PngInfo()
    for name, text in notes.items():
        info.add_itxt(name, text)
    return saved(image, "PNG", pnginfo=info)


FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


def check_writable(path: str | Path) -> str:
    """The format that a file's ending asks for; ValueError if it is none, or the file has no folder to be in."""
    path = Path(path)
    if not (format := FORMATS.get(path.suffix.lower())):
        raise ValueError(
            f"cannot write {str(path)!r}: name a file that ends in {', '.join(FORMATS)}"
        )
    if path.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: it is a folder; name a file")
    folder = path.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(
            f"cannot write {str(path)!r}: there is no such folder, or none to write to"
        )
    return format


def encoded(image: Image.Image, format: str) -> bytes:
    """The image as a file's bytes; a JPEG has white where it was transparent."""
    if format == "JPEG":
        return jpeg(upright(image), quality=95)
    return saved(image, format, **({"compression": "tiff_lzw"} if format == "TIFF" else {}))


def saved(image: Image.Image, format: str, **how: Any) -> bytes:
    """The image as a file's bytes; `how` as Pillow's `save` takes it."""
    buffer = io.BytesIO()
    image.save(buffer, format, **how)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """The bytes as a file that is there whole or not at all, even if the power fails; OSError, of that file, if not.

    Where a link leads, there they are; a device or a pipe is written to.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    # Its own for each writer: two may have the same to write.
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.aside")
    try:
        with aside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def hand_over(path: str | Path, data: bytes) -> None:
    """Writes a file that somebody has named; ValueError, in one line, if it cannot be."""
    try:
        write(Path(path), data)
    except OSError as error:
        raise ValueError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hash_of(file: str | Path) -> str:
    """The SHA-256 of what is in a file."""
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _neighbours(path: Path) -> str:
    names = [file.name for file in folder(path.parent)[:6]]
    return f"; beside it are {', '.join(names)}" if names else ""
