"""Trains the slim encoder to name what is where, and not to be misled: textures drawn by formula, places in pictures.

python -m nsutils.pretrain slim.safetensors
"""

import argparse
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from nsutils.crops import Crops
from nsutils.drawings import Textures
from nsutils.encoders import DRAWINGS, Encoder, named, quickest, stride_of
from nsutils.samples import samples
from nsutils.settings import ENCODERS

PLACES = 0.6  # the share of the places' loss beside the textures'
MISLED = 0.06  # root mean square change of a picture at most; it spans 0 to 1
WARMING = 200  # steps until the learning rate is full


class Student(nn.Module):
    """VGG-19's layout, narrower, with batch normalisation."""

    def __init__(self, width: int):
        super().__init__()
        self.convolutions, self.norms, channels = nn.ModuleDict(), nn.ModuleDict(), 3
        for layer in ENCODERS["slim"]:
            name, wide = layer.replace("relu", "conv"), width * min(stride_of(layer), 8)
            self.convolutions[name] = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
            self.norms[name] = nn.BatchNorm2d(wide)
            channels = wide

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The last features of the fourth block, (N, 8 width, E/8, E/8), and of the fifth, half as large."""
        x = (picture - DRAWINGS.mean[0]) / DRAWINGS.std[0]
        for name, convolution in self.convolutions.items():
            if name == "conv5_1":
                near = x
            if name.endswith("_1") and name != "conv1_1":
                x = F.avg_pool2d(x, 2)
            x = F.relu(self.norms[name](convolution(x)))
        return near, x


class Reader(nn.Module):
    """Says from a student's features what is where, linearly."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.near, self.far = nn.Conv2d(channels, classes, 1), nn.Conv2d(channels, classes, 1)

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        """Scores (N, classes, E/8, E/8)."""
        return self.near(near) + F.interpolate(self.far(far), scale_factor=2)


class School(nn.Module):
    """A student and its readers, one for textures and one for places, and the lessons for both."""

    def __init__(self, width: int, classes: int, seed: int, device: str):
        super().__init__()
        self.precision = quickest(torch.device(device))
        self.textures = Textures(classes, seed=seed, device=device)
        files = (*samples("content").values(), *samples("style").values())
        self.crops = Crops(files, device=device)
        self.student = Student(width)
        self.texture = Reader(width * 8, self.textures.classes)
        self.place = Reader(width * 8, self.crops.classes)
        self.to(device, memory_format=torch.channels_last)

    def lesson(self, batch: int, progress: float, chance: Generator) -> tuple[Tensor, Tensor]:
        """The loss, and the share of textures named rightly. What is drawn varies more from lesson to lesson.

        The second half of the school has crops among the textures, and misleads: both are too hard to begin with.
        """
        crops = batch * 3 // 8 if progress >= 0.5 else 0
        picture, names = self.textures.batch(batch - crops, min(1.0, 0.3 + 2 * progress), chance)
        places = None
        if crops:
            crop, places = self.crops.batch(crops, 2 * progress - 1, chance)
            picture = self.misleading(torch.cat((picture, crop)), names, places, chance)
        return self.graded(picture, names, places)

    def graded(
        self, picture: Tensor, names: Tensor, places: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The loss over textures and, if there are crops behind them, their places; the share named rightly."""
        half = self.precision == "bfloat16"
        with torch.autocast(picture.device.type, dtype=torch.bfloat16, enabled=half):
            near, far = self.student(picture.contiguous(memory_format=torch.channels_last))
            scores = self.texture(near[: len(names)], far[: len(names)])
            loss = F.cross_entropy(scores.float(), names)
            if places is not None:
                guesses = self.place(near[len(names) :], far[len(names) :])
                loss = loss + PLACES * F.cross_entropy(guesses.float(), places)
        return loss, (scores.argmax(1) == names).sum() / (names >= 0).sum()

    def misleading(
        self, picture: Tensor, names: Tensor, places: Tensor, chance: Generator
    ) -> Tensor:
        """The pictures, each changed by up to MISLED in the direction that most raises the loss.

        A network that withstands this follows what an eye sees, and so does its gradient, which is what
        style transfer draws with; left alone, it answers to grain, and draws grain. (One step, from a random
        place nearby: Goodfellow et al. 2015; Wong, Rice, Kolter 2020. Why: Engstrom et al. 2019.)
        """
        length = MISLED * torch.rand(len(picture), 1, 1, 1, generator=chance, device=picture.device)
        nearby = torch.randn(picture.shape, generator=chance, device=picture.device)
        nearby = (picture + 0.3 * length * nearby).requires_grad_()
        (slope,) = torch.autograd.grad(self.graded(nearby, names, places)[0], nearby)
        steepness = slope.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12
        return nearby.detach() + length * slope / steepness


def train(
    out: Path,
    width: int = 32,
    classes: int = 800,
    pictures: int = 1_200_000,
    batch: int = 64,
    seed: int = 0,
    device: str = "cpu",
    minutes_between_saves: float = 3,
    steps_between_lines: int = 200,
) -> None:
    """Trains, or goes on where it stopped, and writes the encoder to `out` and its own state beside it.

    The same seed on the same machine gives the same weights, stopped or not. ValueError for what cannot be.
    """
    if out.suffix != ".safetensors" or not out.absolute().parent.is_dir():
        raise ValueError(f"{str(out)!r} is no .safetensors file in a folder that there is")
    if min(width, classes, batch) < 1 or pictures < batch:
        raise ValueError(
            "nothing to train; give a width, classes, a batch, and pictures for one at least"
        )
    device = named(device)
    torch.manual_seed(seed)
    school = School(width, classes, seed, device)
    chance = torch.Generator(device).manual_seed(seed + 1)
    descent = torch.optim.AdamW(school.parameters(), weight_decay=0.05)
    state, steps = out.with_suffix(".state"), pictures // batch
    first = resumed(state, school, descent, chance) if state.exists() else 0
    begun = kept = time.monotonic()
    rows: list[Tensor] = []
    for step in range(first, steps):
        for group in descent.param_groups:
            group["lr"] = rate(step, steps)
        loss, share = school.lesson(batch, step / steps, chance)
        descent.zero_grad()
        loss.backward()
        descent.step()
        last = step + 1 == steps
        rows.append(torch.stack((loss.detach(), share)))
        # not looked at before: an accelerator need not be waited for
        if last or len(rows) == steps_between_lines:
            mean, right = torch.stack(rows).mean(0).tolist()
            many, seen = (step + 1) * batch, (step + 1 - first) * batch
            speed = seen / (time.monotonic() - begun)
            print(f"{many} pictures  {speed:.0f}/s  loss {mean:.3f}  right {right:.3f}", flush=True)
            rows.clear()
        if last or time.monotonic() - kept > 60 * minutes_between_saves:
            keep(state, school, descent, chance, step + 1)
            save_file(folded(school.student, school.textures), out)
            kept = time.monotonic()


def rate(step: int, steps: int) -> float:
    """The learning rate: up in WARMING steps and slowly down to nothing, in each half of the school."""
    half = max(1, steps // 2)
    since = step % half if step < 2 * half else half
    full = (2e-3 if step < half else 1e-3) * min(1, (since + 1) / WARMING)
    return full * (1 - since / half) + 1e-6


def keep(state: Path, school: School, descent: Optimizer, chance: Generator, step: int) -> None:
    """Writes all that `resumed` needs, whole or not at all."""
    aside = state.with_suffix(".aside")
    parts = {"school": school.state_dict(), "descent": descent.state_dict()}
    parts |= {"precision": school.precision, "chance": chance.get_state(), "step": step}
    torch.save(parts, aside)
    os.replace(aside, state)


def resumed(state: Path, school: School, descent: Optimizer, chance: Generator) -> int:
    """Puts everything back as it was kept; the number of the step to go on with."""
    try:
        saved = torch.load(state, weights_only=True)
        school.load_state_dict(saved["school"])
        descent.load_state_dict(saved["descent"])
        school.precision = saved["precision"]
        chance.set_state(saved["chance"])
        return saved["step"]
    except Exception as error:  # whatever a damaged file brings up
        raise ValueError(
            f"{str(state)!r} is of another training, or damaged; delete it, or name another file"
        ) from error


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
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument("out", type=Path)
    for name in ("pictures", "classes", "width", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--device")
    try:
        train(**vars(parser.parse_args()))  # which has the defaults
    except ValueError as error:
        parser.error(str(error))
