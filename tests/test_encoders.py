import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nsutils import encoders
from nsutils.encoders import DRAWINGS, GAINS, Encoder, load
from nsutils.pictures import hash_of
from nsutils.settings import CHOICES, ENCODERS


@pytest.mark.parametrize(("precision", "apart"), [("bfloat16", 0.02), ("float16", 0.003)])
def test_half_precision_sees_nearly_what_float32_sees(precision, apart):
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    exact, coarse = (
        load("slim", device="cpu", precision=precision)(image, ENCODERS["slim"])
        for precision in ("float32", precision)
    )
    for layer, features in exact.items():
        assert coarse[layer].dtype == getattr(torch, precision)
        off = (coarse[layer].float() - features).square().mean() / features.square().mean()
        assert 0 < off < apart**2, layer


def test_a_precision_is_found_by_trying():
    assert load("slim", device="cpu").precision in CHOICES["precision"][1:]


def test_slim_has_vgg19s_thirteen_layers_to_relu5_1():
    slim = load("slim", device="cpu")
    assert slim.layers == ENCODERS["slim"]
    assert len(slim.layers) == 13
    assert encoders.SLIM_FILE.stat().st_size < 8e6
    assert hash_of(encoders.SLIM_FILE) in encoders.SLIM_FILE.with_name("README.md").read_text()


def test_features_have_the_sizes_of_their_blocks():
    slim = load("slim", device="cpu")
    features = slim(torch.rand(1, 3, 64, 48), slim.layers)
    for name, value in features.items():
        halvings = 2 ** (int(name[4]) - 1)
        assert value.shape[-2:] == (64 // halvings, 48 // halvings)
        assert value.min() >= 0


def test_slims_layers_have_comparable_scale_on_drawings():
    from nsutils.drawings import Textures

    slim = load("slim", device="cpu")
    drawn, _ = Textures(64).batch(8, 1.0, torch.Generator().manual_seed(5))
    for value in slim(drawn, slim.layers).values():
        assert 0.3 < value.square().mean() < 3


def test_an_encoder_stays_as_it_was_made_whatever_becomes_of_the_arrays():
    arrays = {"conv1_1.weight": torch.rand(4, 3, 3, 3), "conv1_1.bias": torch.rand(4)}
    made, image = Encoder(arrays, DRAWINGS, "slim"), torch.rand(1, 3, 8, 8)
    before = made(image, made.layers)["relu1_1"]
    for array in arrays.values():
        array.mul_(2)
    assert torch.equal(made(image, made.layers)["relu1_1"], before)


def test_an_encoder_is_convolutions_by_hand(encoder):
    image = torch.rand(1, 3, 12, 10)
    weights = {name: (conv.weight, conv.bias) for name, conv in encoder.convolutions.items()}
    x = (image - 0.5) / 0.25
    for name in ("relu1_1", "relu1_2", "pool", "relu2_1"):
        if name == "pool":
            x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
        else:
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), *weights[name]).clamp_min(0)
    assert torch.allclose(encoder(image, ["relu2_1"])["relu2_1"], x, atol=1e-5)


@pytest.mark.parametrize("pooling", CHOICES["pooling"])
def test_pooling_by_hand_and_its_gradient_is_finite_everywhere(encoder, pooling):
    encoder.pooling, encoder.gain = pooling, GAINS[pooling] / GAINS["max"]
    image = torch.rand(1, 3, 12, 10).requires_grad_()
    before, after = encoder(image, ["relu1_2", "relu2_1"]).values()
    corners = torch.stack([before[..., y::2, x::2] for y in (0, 1) for x in (0, 1)])
    halved = {
        "average": 2 * corners.mean(0),
        "max": corners.amax(0),
        "l2": 0.78 * corners.square().sum(0).sqrt(),
    }[pooling]
    conv = encoder.convolutions["relu2_1"]
    by_hand = F.conv2d(F.pad(halved, (1, 1, 1, 1), mode="reflect"), conv.weight, conv.bias).relu()
    assert torch.allclose(after, by_hand, atol=1e-4)
    (slope,) = torch.autograd.grad(after.sum(), image)
    assert slope.isfinite().all() and slope.abs().max() > 0


def test_an_encoder_keeps_its_scale_when_it_pools_otherwise_than_it_was_trained():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    image = F.avg_pool2d(image, 3, 1)
    sizes = {
        pooling: load("slim", device="cpu", pooling=pooling)(image, ["relu2_2"])["relu2_2"]
        .square()
        .mean()
        .item()
        for pooling in CHOICES["pooling"]
    }
    assert all(0.4 < size / sizes["average"] < 2.5 for size in sizes.values()), sizes


@pytest.mark.parametrize("padding", CHOICES["padding"])
def test_padding_by_hand(encoder, padding):
    encoder.padding = padding
    image = torch.rand(1, 3, 9, 11)
    x = (image - 0.5) / 0.25
    for name in ("relu1_1", "relu1_2"):
        conv, kind = encoder.convolutions[name], padding
        if padding == "replicate-first":
            kind = "replicate" if name == "relu1_1" else "zeros"
        edge = {"reflect": "reflect", "replicate": "edge", "zeros": "constant"}[kind]
        wide = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode=edge)
        x = F.conv2d(torch.from_numpy(wide), conv.weight, conv.bias).relu()
    assert torch.allclose(encoder(image, ["relu1_2"])["relu1_2"], x, atol=1e-5)


@pytest.mark.parametrize("padding", CHOICES["padding"])
@pytest.mark.parametrize("shape", [(9, 11), (4, 6)])
@pytest.mark.parametrize("asked", [("relu1_1", "relu1_2", "relu2_1"), ("relu1_1", "relu2_1")])
def test_the_way_back_to_the_image_is_that_of_plain_operations(encoder, padding, shape, asked):
    encoder.padding = padding
    image = torch.rand(1, 3, *shape).requires_grad_()
    features = encoder(image, asked).values()
    x, plain = (image - 0.5) / 0.25, []
    for name, conv in list(encoder.convolutions.items())[:3]:
        x = F.avg_pool2d(x, 2) if name == "relu2_1" else x
        x = F.pad(x, (1, 1, 1, 1), mode=encoder.padding_at(name))
        x = F.conv2d(x, conv.weight, conv.bias).relu()
        if name in asked:
            plain.append(x)
    slopes = [
        torch.autograd.grad(sum(layer.square().mean() for layer in layers), image)[0]
        for layers in (features, plain)
    ]
    assert torch.allclose(*slopes, rtol=1e-4, atol=1e-6 * slopes[1].abs().max().item())


def test_nothing_is_computed_beyond_the_deepest_layer_asked_for(encoder):
    encoder.convolutions["relu2_2"] = torch.nn.Identity()
    assert set(encoder(torch.rand(1, 3, 8, 8), ["relu1_2", "relu2_1"])) == {"relu1_2", "relu2_1"}


def test_slopes_go_back_layer_by_layer(encoder):
    layers, losses, turns = ("relu1_1", "relu1_2", "relu2_1"), [], []
    for name, features in encoder.along(torch.rand(1, 3, 8, 8).requires_grad_(), layers):
        seen = features.square()
        for stage, tensor in {"of its loss": seen, "whole": features}.items():
            tensor.register_hook(lambda slope, turn=(name, stage): turns.append(turn))
        losses.append(seen.mean())
    sum(losses).backward()
    assert turns == [(name, s) for name in reversed(layers) for s in ("of its loss", "whole")]


def test_an_unknown_layer_is_named_with_those_that_are_there(encoder):
    with pytest.raises(ValueError, match=r"'relu9_9'.*relu1_1, relu1_2, relu2_1, relu2_2"):
        encoder(torch.rand(1, 3, 8, 8), ["relu9_9"])


def test_l2_pooling_of_nothing_has_a_gradient_in_half_precision():
    slim = load("slim", precision="float16", pooling="l2", device="cpu")
    image = torch.zeros(1, 3, 32, 32).requires_grad_()
    (slope,) = torch.autograd.grad(slim(image, ["relu3_1"])["relu3_1"].float().sum(), image)
    assert slope.isfinite().all()
