import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import colourful
from PIL import Image

from nsutils import Player, Run, machine, pictures, stylize
from nsutils.cost import PIECES, Cost, duration, forecast
from nsutils.encoders import load
from nsutils.settings import Settings

CPU = torch.device("cpu")
GB = 1_000_000_000


@pytest.fixture
def cache(tmp_path):
    """For each test, so that nothing is known yet."""
    return tmp_path / "cache"


def free(monkeypatch, *amounts):
    """As if so much memory were free, at one question after the other."""
    answers = [*amounts]
    monkeypatch.setattr(
        machine, "free_memory", lambda device: answers.pop(0) if len(answers) > 1 else answers[0]
    )


def test_a_run_keeps_its_forecast_and_what_it_took(settings, encoder, tmp_path):
    run = Player(Run.create(tmp_path / "run", settings), encoder).start().wait()
    for name in ("forecast", "measured"):
        assert run.meta[name]["seconds"] > 0 and run.meta[name]["bytes"] > 100_000_000
    assert run.meta["measured"]["seconds"] == run.metrics[-1]["seconds"]
    ratio = run.meta["measured"]["bytes"] / run.meta["forecast"]["bytes"]
    assert run.meta["measured_by_forecast"]["bytes"] == pytest.approx(ratio, abs=1e-3)


def test_what_was_tried_once_is_not_tried_again(settings, encoder, monkeypatch):
    first = forecast(settings, encoder)
    monkeypatch.delattr(Cost, "_try")
    assert forecast(settings, encoder).seconds == first.seconds
    assert forecast(replace(settings, steps=112), encoder).seconds > first.seconds


def test_a_step_costs_more_the_larger_it_is_and_as_much_as_was_learned(settings, encoder):
    known = Cost(settings, encoder).probed()
    known.learn(400 * 300, 2.0)
    known = Cost(settings, encoder)
    assert known.step((300, 400)) == 2.0
    assert 2 < known.step((400, 400)) < known.step((800, 800))
    assert 0 < known.step((50, 100)) < known.step((200, 200)) < 2


def test_to_begin_a_scale_takes_about_a_step_more_with_more_styles_and_what_was_learned(
    settings, encoder
):
    known = Cost(settings, encoder).probed()
    known.learn(400 * 300, 2.0)
    larger = 64 * 48 / (64 * 40)  # the style than the content
    assert known.beginning((300, 400)) == pytest.approx(1 + larger)
    known.learn(400 * 300, 2.0, begins=6.0)  # half of the way there
    assert known.beginning((300, 400)) == pytest.approx((1 + larger + 6) / 2)
    two = Cost(replace(settings, styles=2 * settings.styles), encoder)
    assert two.beginning((300, 400)) == pytest.approx((1 + 2 * larger) * (1 + 6 / (1 + larger)) / 2)


def test_a_style_that_is_larger_than_the_content_is_foreseen(settings, encoder, tmp_path):
    pictures.to_image(colourful(40, 400, 1)).save(tmp_path / "wide.png")
    pictures.to_image(colourful(400, 400, 2)).save(tmp_path / "square.png")
    wide, square = (str(tmp_path / f"{name}.png") for name in ("wide", "square"))
    taken = {}
    for style in (wide, square):
        asked = {"content": wide, "styles": style, "size": 400, "steps": 4, "scale_steps": ()}
        cost = Cost(replace(settings, **asked), encoder)
        taken[style] = sum(cost.memory((40, 400), 4)), cost.probed().beginning((40, 400))
    assert taken[square][0] > taken[wide][0] + 360 * 400 * 4 * 4
    assert taken[square][1] == pytest.approx(5.5 * taken[wide][1], rel=0.01)


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_the_bytes_of_features_are_those_held_for_the_gradient(settings, pooling):
    slim = load("slim", device="cpu", precision="float32", pooling=pooling)
    cost = Cost(replace(settings, style_layers=("relu1_1", "relu2_2", "relu3_1")), slim)
    weights, held = {weight.data_ptr() for weight in slim.parameters()}, {}

    def keep(tensor):
        if tensor.data_ptr() not in weights and tensor.shape[1] > 3:
            held[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        seen = slim(torch.rand(1, 3, 64, 96, requires_grad=True), cost.layers)
    assert set(seen) == set(cost.layers)
    assert sum(held.values()) == 64 * 96 * sum(cost.per_pixel(cost.layers))


def test_what_does_not_fit_is_seen_in_pieces_and_else_a_size_is_offered(
    content, style, monkeypatch
):
    slim = load("slim", device="cpu", precision="float32")
    large = Settings(content, style, size=2000, enlarge="content")
    free(monkeypatch, 30 * GB)
    assert forecast(large, slim).whole is None
    free(monkeypatch, 2 * GB)
    pieced = forecast(large, slim)
    assert pieced.whole in PIECES and pieced.fits
    free(monkeypatch, 1 * GB)
    refused = forecast(large, slim)
    assert not refused.fits and f"size {refused.largest} fits" in str(refused)
    assert forecast(replace(large, size=refused.largest), slim).fits
    assert not forecast(replace(large, size=refused.largest + 64), slim).fits


def test_the_size_that_is_offered_is_one_to_ask_for(style, tmp_path, monkeypatch):
    Image.new("RGB", (900, 600)).save(tmp_path / "wide.png")
    slim = load("slim", device="cpu", precision="float32")
    asked = Settings(str(tmp_path / "wide.png"), style, size=600, side="short", octaves=1)
    one, other = (Cost(replace(asked, size=size), slim).forecast(None) for size in (300, 600))
    free(monkeypatch, (one.bytes + other.bytes) // 2 - machine.resident_memory(CPU))
    largest = Cost(asked, slim).forecast(None).largest
    for size, fits in {largest - 32: True, largest + 64: False}.items():
        assert Cost(replace(asked, size=size), slim).forecast(None).fits == fits


@pytest.mark.parametrize(
    "words",
    [
        *("", "null", "[]", "3", '{"KEY": null}', '{"KEY": {"points": []}}'),
        *('{"KEY": {"points": {"9216": null}}}', '{"KEY": {"points": {"x": 1}, "begins": 1}}'),
    ],
)
def test_what_is_known_is_found_out_again_where_its_file_is_damaged(
    settings, encoder, tmp_path, monkeypatch, words
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = Cost(settings, encoder)
    known.file.parent.mkdir(parents=True)
    known.file.write_text(words.replace('"KEY"', json.dumps(known._key)))
    assert forecast(settings, encoder).seconds > 0
    assert Cost(settings, encoder).points


def test_a_run_that_cannot_fit_is_not_begun(settings, encoder, tmp_path, monkeypatch):
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    free(monkeypatch, 0)
    with pytest.raises(ValueError, match=r"memory, and .* are free; no size fits"):
        player.start().wait()
    assert not player.run.metrics and player.run.status == "failed"


def test_a_scale_that_does_not_fit_is_not_begun_and_can_be_made_later(
    settings, encoder, tmp_path, monkeypatch
):
    unbroken = [step.losses for step in stylize(settings, encoder)]
    player = Player(Run.create(tmp_path / "run", settings), encoder)
    free(monkeypatch, GB, GB, -GB)
    run = player.start().wait()
    assert run.status == "stopped" and run.last.number == 4
    assert "58 x 36 px takes" in run.meta["ended_early"] and run.result.exists()
    free(monkeypatch, GB)
    again = Player(Run(tmp_path / "run"), encoder)
    assert [step.losses for step in again] == unbroken[4:]
    assert again.status == "done" and not run.meta["ended_early"]


def test_where_a_device_is_full_the_run_goes_on_smaller(settings, encoder, tmp_path, monkeypatch):
    see = encoder.along

    def see_little(image, layers):
        if image.shape[-1] > 56:
            raise torch.cuda.OutOfMemoryError("no memory")
        return see(image, layers)

    player = Player(Run.create(tmp_path / "run", settings), encoder)
    monkeypatch.setattr("nsutils.player.SMALLER", 0.95)
    player.listeners.append(
        lambda p: p.step.number == 6 and monkeypatch.setattr(encoder, "along", see_little)
    )
    run = player.start().wait()
    assert run.status == "done" and player.step.shape == (34, 55)
    assert run.steering == [{"step": 6, "size": 55}]
    assert run.meta["made_smaller"].startswith("58 x 36 px did not fit")


def test_in_pieces_a_run_is_the_same_but_for_rounding(settings, tmp_path):
    slim = load("slim", device="cpu", precision="float32")
    settings = replace(settings, encoder="slim", enlarge="everything", size=400, steps=3)
    settings = replace(settings, style_layers=("pixels", "relu1_1", "relu2_1"), scale_steps=())
    whole, pieced = (list(stylize(settings, slim, whole=most)) for most in (None, 30_000))
    for one, other in zip(whole, pieced, strict=True):
        assert other.losses["total"] == pytest.approx(one.losses["total"], rel=1e-3)
    assert torch.allclose(pieced[-1].image, whole[-1].image, atol=1e-2)


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts(version, tmp_path, monkeypatch):
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: ("memory.max", "memory.current"),
    }
    folder = tmp_path if version == 2 else tmp_path / "memory"
    folder.mkdir(exist_ok=True)
    for name, count in zip(names[version], (3 * GB, 2 * GB), strict=True):
        (folder / name).write_text(f"{count}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {GB // 2}\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "own_group", lambda: tmp_path)
    assert machine.container_memory() == 1.5 * GB
    assert machine.free_memory(CPU) <= 1.5 * GB
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.container_memory() >= 1.5 * GB


def test_the_peak_is_that_of_the_process(tmp_path):
    before = machine.resident_memory(CPU)
    block = torch.ones(100_000_000)
    assert machine.peak_memory(CPU) >= before + 3.9e8
    del block


def test_the_peak_is_found_where_linux_does_not_tell_it(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "status")
    assert machine.peak_memory(CPU) > 0.9 * machine.resident_memory(CPU)
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    told = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=5))
    monkeypatch.setattr(psutil, "Process", lambda: told)
    assert machine.peak_memory(CPU) == 5


def test_durations_are_told_as_people_do():
    assert [duration(s) for s in (4, 100, 3600, 11400)] == ["4 s", "2 min", "60 min", "3 h 10 min"]
