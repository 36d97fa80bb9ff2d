"""On a CUDA card, asked for with -m gpu: a step is recorded there once, and is the same as on the processor."""

from dataclasses import replace

import pytest
import torch

from nsutils import Player, Run, pictures, stylize
from nsutils.objective import Objective
from nsutils.sources import Sources

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card here"),
]
WAYS = {
    "the defaults": {},
    "shapes held": {"laplacian_weight": 0.02, "laplacian_pools": (1, 4), "similarity_weight": 0.2},
    "normalised": {"normalize_gradients": True},
    "adam": {"optimizer": "adam", "roll": True, "carry": True},
} | {name: {"style_statistic": name} for name in ("gram", "moments", "sliced")}
NO_MASKS = ("sliced", True)  # it knows none


@pytest.fixture
def mask(tmp_path):
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 40, 64)
    pictures.to_image(ramp.expand(1, 3, 40, 64)).save(tmp_path / "mask.png")
    return str(tmp_path / "mask.png")


def objective(settings, encoder):
    sources = Sources(settings)
    regions = sources.regions((40, 64), encoder.device)
    return Objective(settings, encoder, *sources.at((40, 64), encoder.device), None, regions)


@pytest.mark.parametrize(
    ("way", "masked"),
    [(way, masked) for way in WAYS for masked in (False, True) if (way, masked) != NO_MASKS],
)
def test_what_is_recorded_is_what_is_computed_and_what_the_processor_computes(
    settings, encoder, mask, monkeypatch, way, masked
):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # PyTorch's default there
    settings = replace(settings, **WAYS[way], mask=mask if masked else None)
    here = objective(settings, encoder)
    image = here.picture * 0.8 + 0.1
    on_processor, losses, _ = here.slope(image)
    there = objective(settings, encoder.to("cuda"))
    for factor in (0.5, 1.0):  # the second is a replay of what the first recorded
        recorded, found, _ = there.slope(factor * image.cuda())
    assert there.recorded is not None
    computed, _, _ = there.computed_slope(image.cuda())
    scale = computed.abs().max()
    assert (recorded - computed).abs().max() < 1e-4 * scale
    assert (recorded.cpu() - on_processor).abs().max() < 2e-2 * scale.cpu()
    for name in losses:
        assert found[name].item() == pytest.approx(losses[name].item(), rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("way", [*WAYS])
def test_a_run_lowers_the_total_at_each_scale(settings, encoder, way):
    steps = [*stylize(replace(settings, **WAYS[way]), encoder.to("cuda"))]
    for scale in {step.scale for step in steps}:
        totals = [step.losses["total"] for step in steps if step.scale == scale]
        assert totals[-1] < totals[0]
    assert steps[-1].image.is_cuda


def test_a_resumed_run_goes_on_as_the_unbroken(settings, encoder, tmp_path):
    encoder = encoder.to("cuda")
    unbroken = [step.losses["total"] for step in stylize(settings, encoder)]
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    for step in player:
        if step.number == 3:
            player.stop()
    rest = [step.losses["total"] for step in Player(Run(tmp_path / "run"), encoder)]
    assert rest == pytest.approx(unbroken[3:], rel=1e-2)
