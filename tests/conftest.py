"""Small real things: two pictures of 64 x 40, a two-block encoder, settings that take a second."""

import os

# Tests share the machine with browsers and kernels, and their pictures are too small to be worth a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault(
    "GOMP_SPINCOUNT", "100"
)  # where a test asks for more, they wait for each other asleep

import pytest
import torch
from PIL import Image

from nsutils import Player, Run, pictures
from nsutils.encoders import DRAWINGS, Encoder
from nsutils.settings import Settings


def colourful(height: int, width: int, seed: int) -> torch.Tensor:
    """Soft coloured noise, (1, 3, height, width)."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return pictures.resize(coarse, (height, width))


def half(width: int = 64, height: int = 40) -> Image.Image:
    """A mask, white on the left, black on the right."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return mask


BLOCKS = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}


def torchvision_state(width=1, depth="vgg19"):
    """A state with torchvision's keys and VGG's layout, `width` times as narrow as 64 ... 512."""
    state, place, channels = {}, 0, 3
    for wide, count in zip((64, 128, 256, 512, 512), BLOCKS[depth], strict=True):
        for _ in range(count):
            state[f"features.{place}.weight"] = (
                torch.randn(wide // width, channels, 3, 3) / (9 * channels) ** 0.5
            )
            state[f"features.{place}.bias"] = torch.zeros(wide // width)
            channels, place = wide // width, place + 2
        place += 1
    return state | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}


def pytest_terminal_summary(terminalreporter):
    """Says once, not for each test, why some were left out."""
    for reason in {report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}:
        terminalreporter.write_line(reason)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """For all tests, so that the machine's speed is tried once for each kind of run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    """No test reads or fills the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "content.png"
    pictures.to_image(colourful(40, 64, 1)).save(path)
    return str(path)


@pytest.fixture
def style(tmp_path):
    path = tmp_path / "style.png"
    pictures.to_image(colourful(64, 48, 2)).save(path)
    return str(path)


def small_encoder() -> Encoder:
    """Two blocks of two layers, random weights."""
    chance, arrays, channels = torch.Generator().manual_seed(3), {}, 3
    for name, wide in {"conv1_1": 4, "conv1_2": 4, "conv2_1": 8, "conv2_2": 8}.items():
        spread = (2 / (9 * channels)) ** 0.5
        arrays[f"{name}.weight"] = torch.randn(wide, channels, 3, 3, generator=chance) * spread
        arrays[f"{name}.bias"] = torch.zeros(wide)
        channels = wide
    return Encoder(arrays, DRAWINGS, "small")


@pytest.fixture
def encoder():
    return small_encoder()


@pytest.fixture
def settings(content, style):
    """Twelve steps on three scales of 32 to 64 pixels, for the two-block encoder."""
    return Settings(
        content,
        style,
        size=64,
        smallest=52,
        steps=12,
        scale_steps=(4, 3),
        content_layers=("relu2_2",),
        style_layers=("pixels", "relu1_1", "relu2_1"),
    )


@pytest.fixture
def steered_run(settings, encoder, tmp_path):
    """A run to its end, its style made heavier after step 6."""
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 6:
            player.steer(style_weight=4.0)
    return player.run
