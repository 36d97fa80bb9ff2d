from dataclasses import replace
from functools import partial

import pytest
import torch

from nsutils import Settings, optimizers, stylize
from nsutils.objective import Objective
from nsutils.optimizers import LBFGS, Adam, copied
from nsutils.sources import Sources
from nsutils.transfer import start

CONVENTIONS = [
    {"optimizer": "adam", "returned": "average", "carry": True},
    {"optimizer": "adam", "returned": "best", "every": 2},
    {"optimizer": "adam", "roll": True},
    {"optimizer": "adam", "pixel_range": 255.0, "learning_rate": 5.0},
    {"counting": "evaluations"},
    {"pixel_range": 256.0, "lbfgs_history": 3},
    {"normalize_gradients": True, "optimizer": "adam"},
    {"init": "noise", "noise": "uniform", "seed": 7},
]


@pytest.mark.parametrize("how", CONVENTIONS)
@pytest.mark.parametrize("stop", [3, 4, 9])
def test_after_a_step_it_goes_on_as_if_unbroken(settings, encoder, how, stop):
    settings = replace(settings, **how)
    unbroken = list(stylize(settings, encoder))
    for step in stylize(settings, encoder):
        if step.number == stop:
            break
    rest = list(stylize(settings, encoder, after=step))
    assert [step.losses for step in rest] == [step.losses for step in unbroken[stop:]]
    assert torch.equal(rest[-1].image, unbroken[-1].image)


@pytest.mark.parametrize("shape", [(81, 121), (54, 81), (40, 64)])
def test_what_is_loaded_of_lbfgs_moves_an_image_of_any_shape_the_same_way(shape):
    settings = Settings("c", "s", preconditioned=False)
    steep = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)) + 0.1

    def moved(optimizer, image, count):
        for _ in range(count):
            image = image + 0.5 * optimizer.move(steep * image.sin())
        return image

    unbroken, image = LBFGS(settings, {}), torch.ones(1, 3, *shape)
    for count in (2, 4, 9):
        image = moved(unbroken, image, count)
        loaded = LBFGS(settings, copied(unbroken.state, image.device))
        again, image = moved(loaded, image, 6), moved(unbroken, image, 6)
        assert torch.equal(again, image)


def test_an_average_is_that_of_the_start_and_all_moves_since_fading(settings, encoder):
    settings = replace(settings, scale_steps=(), steps=4, optimizer="adam")
    moves = [step.image for step in stylize(settings, encoder)]
    first = Sources(settings).at((40, 64), encoder.device)[0]
    weights = [0.99**n for n in range(4, -1, -1)]
    wanted = sum(w * x for w, x in zip(weights, (first, *moves), strict=True)) / sum(weights)
    *_, last = stylize(replace(settings, returned="average"), encoder)
    assert torch.allclose(last.image, wanted, atol=1e-6)


def test_the_best_of_the_kept_pictures_is_returned(settings, encoder):
    asked = {"scale_steps": (), "optimizer": "adam", "learning_rate": 0.3, "every": 2, "steps": 8}
    settings = replace(settings, **asked)
    moves = [step.image for step in stylize(settings, encoder)]
    content, styles = Sources(settings).at((40, 64), encoder.device)
    made = Objective(settings, encoder, content, styles)
    totals = [made.total(made.losses(image)).item() for image in moves[1::2]]
    *_, last = stylize(replace(settings, returned="best"), encoder)
    assert torch.equal(last.image, moves[1::2][totals.index(min(totals))])


def test_adams_memory_is_carried_to_a_larger_scale_or_dropped(settings, encoder):
    settings = replace(settings, optimizer="adam", scale_steps=(4,), steps=5)
    counts = []
    for carry in (True, False):
        *_, last = stylize(replace(settings, carry=carry), encoder)
        counts.append(last.memory["optimizer"]["count"])
        assert last.memory["optimizer"]["mean"].shape == last.image.shape
    assert counts == [5, 1]


def test_a_rolled_picture_has_the_same_losses_but_for_its_borders(settings, encoder):
    settings = replace(settings, padding="replicate", style_layers=("pixels", "relu1_1"))
    content, styles = Sources(settings).at((40, 64), encoder.device)
    made = Objective(settings, encoder, content, styles)
    image = torch.rand(1, 3, 40, 64, generator=torch.Generator().manual_seed(0))
    still, rolled = made.losses(image), made.losses(image, (8, 20))
    for name, loss in still.items():
        assert rolled[name].item() == pytest.approx(loss.item(), rel=0.25), name
    assert rolled["tv"] == still["tv"] and rolled["content"] != still["content"]


def test_a_rolled_content_still_has_no_content_loss(settings, encoder):
    content, styles = Sources(settings).at((40, 64), encoder.device)
    made = Objective(settings, encoder, content, styles)
    assert made.losses(made.picture, (7, 13))["content"] < 1e-9


def test_normalized_gradients_have_their_weights_as_length(settings, encoder):
    asked = {"normalize_gradients": True, "content_weight": 3.0, "tv_weight": 0.0}
    settings = replace(settings, **asked, style_weight=0.0, octaves=1)
    content, styles = Sources(settings).at((40, 64), encoder.device)
    made = Objective(settings, encoder, content, styles)
    features = encoder(torch.rand(1, 3, 40, 64), ("relu2_2",))["relu2_2"].requires_grad_()
    pulled = made.pulled(0, "content/relu2_2", features)
    (slope,) = torch.autograd.grad((7 * pulled.square()).sum(), features)
    assert slope.abs().sum().item() == pytest.approx(3.0, rel=1e-4)


def test_the_encoder_cannot_be_steered(settings, encoder):
    steps = stylize(settings, encoder)
    next(steps)
    with pytest.raises(ValueError, match="pixel_range belongs to the run"):
        steps.send(replace(settings, pixel_range=255.0))


@pytest.mark.parametrize("noise", ["normal", "uniform", "style", "mean"])
def test_noise_has_its_form_and_its_seed(settings, encoder, noise):
    noisy = replace(settings, init="noise", noise=noise, noise_scale=0.01)
    image = start(noisy, encoder).image
    assert torch.equal(image, start(noisy, encoder).image)
    assert not torch.equal(image, start(replace(noisy, seed=1), encoder).image)
    spread = {"normal": 0.22, "uniform": 0.29, "style": None, "mean": 0.01}[noise]
    assert image.min() >= 0 and image.max() <= 1
    assert spread is None or image.std().item() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (LBFGS, partial(torch.optim.LBFGS, max_iter=1, history_size=4)),
        (Adam, partial(torch.optim.Adam, lr=0.02, betas=(0.9, 0.99))),
    ],
)
def test_an_optimizer_moves_as_pytorchs_own(settings, mine, theirs):
    chance = torch.Generator().manual_seed(0)
    stretch = torch.rand(1, 3, 5, 7, generator=chance, dtype=torch.float64) + 0.1
    start = torch.randn(1, 3, 5, 7, generator=chance, dtype=torch.float64)

    def loss(x):
        return (stretch * x.square()).sum() + x.roll(1, -1).mul(x).sum().sin()

    x, y = start.clone(), start.clone().requires_grad_()
    plain = replace(settings, lbfgs_history=4, preconditioned=False)
    own, other = mine(plain, {}), theirs([y])

    def evaluate():
        other.zero_grad()
        loss(y).backward()
        return loss(y).detach()

    for _ in range(20):
        x = x.detach().requires_grad_()
        x = x.detach() + own.move(torch.autograd.grad(loss(x), x)[0])
        other.step(evaluate)
        assert torch.allclose(x, y, rtol=1e-6, atol=1e-9)


def test_a_move_along_which_the_slope_did_not_rise_has_no_weight(settings):
    optimizer = LBFGS(replace(settings, preconditioned=False), {})
    first = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    move = optimizer.move(first)
    second = first - 0.5 * move  # it fell
    assert torch.equal(optimizer.move(second), -second)
    assert optimizer.state["inverses"][0] == 0


def test_natural_moves_are_plain_ones_of_a_picture_written_in_natural_waves(settings, monkeypatch):
    """With x = R z, R R = natural, a plain step in z is a preconditioned one in x."""
    chance = torch.Generator().manual_seed(1)
    stretch = torch.rand(1, 3, 6, 8, generator=chance, dtype=torch.float64) + 0.1
    z = torch.randn(1, 3, 6, 8, generator=chance, dtype=torch.float64)

    def slope_at(x):
        x = x.detach().requires_grad_()
        loss = 1e-3 * ((stretch * x.square()).sum() + x.roll(1, -1).mul(x).sum().sin())
        return torch.autograd.grad(loss, x)[0]

    def root(x):
        with monkeypatch.context() as patch:
            patch.setattr(optimizers, "FADING", {n: p / 2 for n, p in optimizers.FADING.items()})
            return optimizers.natural(x)

    x = root(z)
    natural, plain = (LBFGS(replace(settings, preconditioned=p), {}) for p in (True, False))
    for _ in range(15):
        x = x + natural.move(slope_at(x))
        z = z + plain.move(root(slope_at(root(z))))
        assert torch.allclose(x, root(z), rtol=1e-6, atol=1e-9)


def test_waves_fade_by_their_length_and_colour_before_light():
    """An even field stays; a wave of f cycles a pixel is left to 1 / (1 + f / 0.05), colour, and to its root, light."""
    even = torch.ones(1, 3, 16, 16)
    assert torch.allclose(optimizers.natural(even), even, atol=1e-6)
    for number in (1, 8, 15):
        light = even * torch.cos(torch.pi * number * (torch.arange(16) + 0.5) / 16)
        colour = light * torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
        kept = 1 / (1 + number / 32 / 0.05)
        assert torch.allclose(optimizers.natural(light), kept**0.5 * light, atol=1e-5)
        assert torch.allclose(optimizers.natural(colour), kept * colour, atol=1e-5)


def test_the_cosine_transform_is_the_same_by_matrices_and_its_way_back_leads_back():
    image = torch.rand(1, 3, 5, 8, generator=torch.Generator().manual_seed(1))
    down, across = (optimizers.cosines(side, image.dtype, image.device) for side in (5, 8))
    waves = optimizers.transformed(image)
    assert torch.allclose(waves, down @ image @ across.T, atol=1e-5)
    assert torch.allclose(optimizers.transformed(waves, back=True), image, atol=1e-5)
