"""Trains the slim encoder on drawings: to name the texture at every place of a picture. `python -m nsutils.pretrain`"""

import argparse
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from nsutils.drawings import Textures
from nsutils.encoders import DRAWINGS, Encoder

BLOCKS = (2, 2, 4, 4, 1)
WARMING = 200  # steps until the learning rate is full


class Student(nn.Module):
    """VGG-19's layout, narrower, with batch normalisation; two linear readers say which texture is where."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.convolutions, self.norms, channels = nn.ModuleDict(), nn.ModuleDict(), 3
        for block, depth in enumerate(BLOCKS, 1):
            wide = min(width * 2 ** (block - 1), width * 8)
            for number in range(1, depth + 1):
                self.convolutions[f"conv{block}_{number}"] = nn.Conv2d(
                    channels, wide, 3, padding=1, bias=False
                )
                self.norms[f"conv{block}_{number}"] = nn.BatchNorm2d(wide)
                channels = wide
        self.near, self.far = nn.Conv2d(width * 8, classes, 1), nn.Conv2d(width * 8, classes, 1)

    def forward(self, picture: Tensor) -> Tensor:
        """Scores (N, classes, E/8, E/8)."""
        x = (picture - DRAWINGS.mean[0]) / DRAWINGS.std[0]
        for name, convolution in self.convolutions.items():
            if name == "conv5_1":
                near = self.near(x)
            if name.endswith("_1") and name != "conv1_1":
                x = F.avg_pool2d(x, 2)
            x = F.relu(self.norms[name](convolution(x)))
        return near + F.interpolate(self.far(x), scale_factor=2)


def train(
    out: Path,
    width: int = 32,
    classes: int = 800,
    pictures: int = 600_000,
    batch: int = 64,
    seed: int = 0,
    device: str = "cpu",
    minutes_between_saves: float = 3,
) -> None:
    """Trains, or goes on where it stopped, and writes the encoder to `out` and its own state beside it.

    The same seed on the same machine gives the same weights, stopped or not.
    """
    torch.manual_seed(seed)
    textures = Textures(classes, seed=seed, device=device)
    chance = torch.Generator(device).manual_seed(seed + 1)
    student = Student(width, classes).to(device, memory_format=torch.channels_last)
    descent = torch.optim.AdamW(student.parameters(), weight_decay=0.05)
    state, steps = out.with_suffix(".state"), pictures // batch
    first = resumed(state, student, descent, chance) if state.exists() else 0
    tally, kept = Tally(batch), time.monotonic()
    for step in range(first, steps):
        progress = step / steps
        for group in descent.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / WARMING) * (1 - progress) + 1e-6
        picture, label = textures.batch(batch, min(1.0, 0.3 + progress), chance)
        with torch.autocast(device, dtype=torch.bfloat16):
            scores = student(picture.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(scores.float(), label)
        descent.zero_grad()
        loss.backward()
        descent.step()
        last = step + 1 == steps
        tally.add(step + 1, loss.item(), right(scores, label), show=last)
        if last or time.monotonic() - kept > 60 * minutes_between_saves:
            keep(state, student, descent, chance, step + 1)
            save_file(folded(student, textures), out)
            kept = time.monotonic()


def right(scores: Tensor, label: Tensor) -> float:
    """The share of the labelled places that are named rightly."""
    return (scores.argmax(1) == label)[label >= 0].float().mean().item()


def keep(state: Path, student: Student, descent: Optimizer, chance: Generator, step: int) -> None:
    """Writes all that `resumed` needs, whole or not at all."""
    aside = state.with_suffix(".aside")
    parts = {"student": student.state_dict(), "descent": descent.state_dict()}
    torch.save(parts | {"chance": chance.get_state(), "step": step}, aside)
    os.replace(aside, state)


def resumed(state: Path, student: Student, descent: Optimizer, chance: Generator) -> int:
    """Puts everything back as it was kept; the number of the step to go on with."""
    saved = torch.load(state, weights_only=True)
    student.load_state_dict(saved["student"])
    descent.load_state_dict(saved["descent"])
    chance.set_state(saved["chance"])
    return saved["step"]


class Tally:
    """Prints speed, loss and share of right answers, averaged over 200 steps."""

    def __init__(self, batch: int):
        self.batch, self.begun, self.seen = batch, time.monotonic(), 0
        self.rows: list[tuple[float, float]] = []

    def add(self, step: int, loss: float, right: float, show: bool) -> None:
        self.seen += self.batch
        self.rows.append((loss, right))
        if show or len(self.rows) == 200:
            speed = self.seen / (time.monotonic() - self.begun)
            loss, right = (sum(column) / len(self.rows) for column in zip(*self.rows, strict=True))
            words = (
                f"{step * self.batch} pictures  {speed:.0f}/s  loss {loss:.3f}  right {right:.3f}"
            )
            print(words, flush=True)
            self.rows.clear()


@torch.no_grad()
def folded(student: Student, textures: Textures) -> dict[str, Tensor]:
    """The student's convolutions with batch normalisation folded in, scaled to unit mean square at every layer.

    Equal layer weights then mean equal influence. ReLU and averaging pass a positive factor through, so the
    features keep their shape.
    """
    arrays = {}
    for name, convolution in student.convolutions.items():
        norm = student.norms[name]
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        arrays[f"{name}.weight"] = convolution.weight * gain.view(-1, 1, 1, 1)
        arrays[f"{name}.bias"] = norm.bias - norm.running_mean * gain
    encoder = Encoder(arrays, DRAWINGS, "slim").to(textures.device)
    pictures, _ = textures.batch(64, 1.0, torch.Generator(textures.device).manual_seed(7))
    before = 1.0
    for layer, features in encoder(pictures, encoder.layers).items():
        scale, name = features.square().mean().rsqrt().item(), layer.replace("relu", "conv")
        arrays[f"{name}.weight"] *= scale / before
        arrays[f"{name}.bias"] *= scale
        before = scale
    return {key: value.half().cpu().contiguous() for key, value in arrays.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=int, default=600_000)
    parser.add_argument("--classes", type=int, default=800)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    train(**vars(parser.parse_args()))
