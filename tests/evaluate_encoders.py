"""Renders a fixed table of pairs with candidate encoders, side by side, with statistics none was trained on.

    python tests/evaluate_encoders.py OUT [NAME=FILE.safetensors ...] [--size 320] [--steps N]

`slim` and `random` (the same shape, untrained) are always there, `vgg19` where its weights are. OUT gets a
grid `pairs.jpg`, a row a pair, and `scores.csv`. Lower is better for style, higher for content:

- style: sliced Wasserstein distance of 5 x 5 pixel patches at four octaves, and the distance of the oriented
  band energies and their correlations over scales (after Portilla and Simoncelli 2000, with derivatives of
  Gaussians for the steerable pyramid);
- fringes: how much colour there is in the finest grain beside its light, in parts of the style's own; 1 is right;
- content: correlation of the gradients' strengths, and structural similarity of the grey pictures.
"""

import argparse
import csv
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from skimage.metrics import structural_similarity
from torch import Tensor

from nsutils import Settings, encoders, pictures, sample, stylize
from nsutils.drawings import Textures
from nsutils.encoders import DRAWINGS, Encoder
from nsutils.figures import sheet
from nsutils.pretrain import Student, folded

PAIRS = [
    ("waterside", "strokes"),
    ("waterside", "waves"),
    ("waterside", "woodcut"),
    ("astronaut", "points"),
    ("astronaut", "marbled"),
    ("admiral", "strokes"),
    ("cup", "glass"),
    ("rocket", "woodcut"),
]


# Wang et al. 2004, with a box window.
SIMILARITY = {"win_size": 11, "data_range": 1, "use_sample_covariance": False}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("candidates", nargs="*", metavar="NAME=FILE", default=[])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    asked = parser.parse_args()
    for words in asked.candidates:
        if not Path(words.partition("=")[2]).is_file():
            parser.error(f"{words!r} is no NAME=FILE of weights")
    asked.out.mkdir(parents=True, exist_ok=True)
    candidates = named_encoders(asked.candidates)
    rows, grid = [], []
    for content, style in PAIRS:
        settings = Settings(sample(content), sample(style), size=asked.size, steps=asked.steps)
        ends = [
            pictures.fit(pictures.read(file), asked.size)
            for file in (settings.content, settings.styles[0].picture)
        ]
        results = {name: painted(settings, encoder) for name, encoder in candidates.items()}
        for name, result in results.items():
            rows.append(
                {"content": content, "style": style, "encoder": name, **scores(result, *ends)}
            )
            print(
                *(
                    f"{value:.4f}" if isinstance(value, float) else value
                    for value in rows[-1].values()
                ),
                flush=True,
            )
        shown = dict(zip((content, style), ends, strict=True)) | results
        grid += [(name, pictures.to_image(picture)) for name, picture in shown.items()]
    with (asked.out / "scores.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    sheet(grid, asked.size, 2 + len(candidates)).save(asked.out / "pairs.jpg", quality=90)
    for name in candidates:
        own = [row for row in rows if row["encoder"] == name]
        print(
            name,
            {key: round(sum(row[key] for row in own) / len(own), 4) for key in list(rows[0])[3:]},
        )


def named_encoders(files: list[str]) -> dict[str, Encoder]:
    """Untrained weights are scaled to unit mean square at every layer as slim's are, so the balance is the same."""
    torch.manual_seed(0)
    untrained = folded(Student(32), Textures())
    found = {"slim": encoders.load("slim")}
    precision = found["slim"].precision
    found["random"] = Encoder(untrained, DRAWINGS, "random", precision)
    for name, file in (words.split("=", 1) for words in files):
        found[name] = Encoder(load_file(file), DRAWINGS, name, precision)
    try:
        found["vgg19"] = encoders.load("vgg19")
    except ValueError as error:
        print(f"without vgg19: {error}")
    return found


def painted(settings: Settings, encoder: Encoder) -> Tensor:
    *_, last = stylize(settings, encoder)
    return last.image.clamp(0, 1).cpu()


def scores(result: Tensor, content: Tensor, style: Tensor) -> dict[str, float]:
    planes = [grey(picture)[0, 0].numpy() for picture in (result, content)]
    return {
        "patches": patch_distance(result, style),
        "bands": (bands(result) - bands(style)).square().mean().sqrt().item(),
        "fringes": grain_colour(result) / grain_colour(style),
        "gradients": gradient_correlation(result, content),
        "structure": float(structural_similarity(*planes, **SIMILARITY)),
    }


def grey(picture: Tensor) -> Tensor:
    return (picture * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def patch_distance(one: Tensor, other: Tensor, directions: int = 128, count: int = 4096) -> float:
    """Mean over octaves of the sliced Wasserstein-2 distance of colour patches."""
    chance, total = torch.Generator().manual_seed(1), 0.0
    for octave in range(4):
        patches = [F.unfold(F.avg_pool2d(p, 2**octave), 5)[0].T for p in (one, other)]
        slices = torch.randn(75, directions, generator=chance)
        slices = slices / slices.norm(dim=0)
        drawn = [p[torch.randint(len(p), (count,), generator=chance)] @ slices for p in patches]
        total += (drawn[0].sort(0).values - drawn[1].sort(0).values).square().mean().sqrt().item()
    return total / 4


def bands(picture: Tensor, orientations: int = 4, octaves: int = 4) -> Tensor:
    """Logarithms of oriented band energies, and the correlations of neighbouring bands' strengths."""
    image, strengths, energies, relations = grey(picture), None, [], []
    for _ in range(octaves):
        slope = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), SOBEL)
        angles = torch.arange(orientations) * torch.pi / orientations
        turned = torch.stack((angles.cos(), angles.sin()), 1)
        band = torch.einsum("ok,nkhw->nohw", turned, slope).abs()
        energies.append(band.square().mean((2, 3)).add(1e-6).log()[0])
        if strengths is not None:
            finer = F.adaptive_avg_pool2d(strengths, band.shape[-2:])
            relations.append(torch.corrcoef(torch.cat((finer, band), 1)[0].flatten(1)).flatten())
        strengths, image = band, F.avg_pool2d(image, 2)
    return torch.cat((*energies, *relations))


SOBEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).div(8)
SOBEL = torch.stack((SOBEL, SOBEL.T))[:, None]


def grain_colour(picture: Tensor) -> float:
    """Of what is finer than 5 x 5 pixels: the strength of its colour in parts of its light's."""
    grain = picture - F.avg_pool2d(picture, 5, 1, 2, count_include_pad=False)
    light = grain.mean(1, keepdim=True)
    return ((grain - light).square().mean() / light.square().mean()).sqrt().item()


def gradient_correlation(one: Tensor, other: Tensor) -> float:
    """Of the gradients' strengths after halving the pictures, over pixels."""
    slopes = [F.conv2d(F.avg_pool2d(grey(p), 2), SOBEL).norm(dim=1).flatten() for p in (one, other)]
    return torch.corrcoef(torch.stack(slopes))[0, 1].item()


if __name__ == "__main__":
    main()
