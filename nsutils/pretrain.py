"""Trains the slim encoder on drawings: to name the texture at every place of a picture. `python -m nsutils.pretrain`"""

import argparse
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from nsutils.drawings import Textures
from nsutils.encoders import DRAWINGS, Encoder

BLOCKS = (2, 2, 4, 4, 1)


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
    width=32,
    classes=800,
    pictures=800_000,
    batch=64,
    seed=0,
    device="cpu",
    minutes_between_saves=3,
):
    """Trains, or goes on where `out` stopped, and writes the weights to `out` beside its state (`.state`)."""
    torch.manual_seed(seed)
    textures = Textures(classes, seed=seed, device=device)
    generator = torch.Generator(device).manual_seed(seed + 1)
    student = Student(width, classes).to(device, memory_format=torch.channels_last)
    descent = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=0.05)
    state, first, steps = out.with_suffix(".state"), 0, pictures // batch
    if state.exists():
        saved = torch.load(state, weights_only=True)
        student.load_state_dict(saved["student"])
        descent.load_state_dict(saved["descent"])
        generator.set_state(saved["generator"])
        first = saved["step"]
    right, loss_sum, seen, kept, begun = 0.0, 0.0, 0, time.time(), time.time()
    for step in range(first, steps):
        progress = step / steps
        for group in descent.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 200) * (1 - progress) + 1e-6
        picture, label = textures.batch(batch, min(1.0, 0.3 + progress), generator)
        with torch.autocast(device, dtype=torch.bfloat16):
            scores = student(picture.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(scores.float(), label)
        descent.zero_grad()
        loss.backward()
        descent.step()
        right += (scores.argmax(1) == label)[label >= 0].float().mean().item()
        loss_sum, seen = loss_sum + loss.item(), seen + 1
        if seen == 200 or step + 1 == steps:
            speed = (step + 1 - first) * batch / (time.time() - begun)
            print(
                f"{(step + 1) * batch} pictures  {speed:.0f}/s  loss {loss_sum / seen:.3f}  right {right / seen:.3f}",
                flush=True,
            )
            right, loss_sum, seen = 0.0, 0.0, 0
        if time.time() - kept > 60 * minutes_between_saves or step + 1 == steps:
            aside = state.with_suffix(".aside")
            torch.save(
                {
                    "student": student.state_dict(),
                    "descent": descent.state_dict(),
                    "generator": generator.get_state(),
                    "step": step + 1,
                },
                aside,
            )
            os.replace(aside, state)
            save_file(folded(student, textures), out)
            kept = time.time()


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
    parser.add_argument("--pictures", type=int, default=800_000)
    parser.add_argument("--classes", type=int, default=800)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    train(**vars(parser.parse_args()))
