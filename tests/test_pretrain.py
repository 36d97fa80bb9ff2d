import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from nsutils.drawings import Textures
from nsutils.encoders import DRAWINGS, Encoder
from nsutils.pretrain import MISLED, School, Student, folded, rate, train
from nsutils.settings import ENCODERS

TINY = {"width": 4, "classes": 6, "pictures": 96, "batch": 8}
FEW = TINY | {"batch": 4, "pictures": 4 * 400, "steps_between_lines": 100}


def test_training_lowers_the_loss_and_writes_an_encoder(tmp_path, capsys):
    train(tmp_path / "slim.safetensors", **FEW)
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    losses = [float(words[words.index("loss") + 1]) for words in said]
    assert len(losses) == 4
    assert losses[1] < losses[0], "of textures alone, in the first half"
    assert losses[3] < losses[2], "of textures and places, in the second"
    encoder = Encoder(load_file(tmp_path / "slim.safetensors"), DRAWINGS, "slim")
    assert encoder.layers == ENCODERS["slim"]


def test_the_learning_rate_rises_and_falls_once_in_each_half():
    rates = [rate(step, 4000) for step in range(4000)]
    tops = [n for n in range(1, 3999) if rates[n - 1] < rates[n] and rates[n] >= rates[n + 1]]
    assert len(tops) == 2 and tops[0] < 300 and 2000 < tops[1] < 2300
    assert max(rates[1990:2000]) < 2e-5 and max(rates[-10:]) < 1e-5


def test_misleading_raises_the_loss_more_than_chance_does_and_by_a_change_hardly_seen():
    torch.manual_seed(0)
    school, chance = School(4, 6, 0, "cpu"), torch.Generator().manual_seed(3)
    picture, names = school.textures.batch(32, 1.0, chance)
    crop, places = school.crops.batch(16, 1.0, chance)
    picture = torch.cat((picture, crop))
    changed = school.misleading(picture, names, places, chance)
    change = (changed - picture).square().mean((1, 2, 3), keepdim=True).sqrt()
    assert change.max() < 1.1 * MISLED
    by_chance = picture + change * torch.randn(picture.shape, generator=chance)
    plain, misled, random = (
        school.graded(shown, names, places)[0].item() for shown in (picture, changed, by_chance)
    )
    assert misled - plain > 3 * abs(random - plain)


def test_every_layer_is_scaled_to_unit_mean_square():
    textures = Textures(6)
    encoder = Encoder(folded(Student(4), textures), DRAWINGS, "slim")
    drawn, _ = textures.batch(64, 1.0, torch.Generator().manual_seed(7))
    for features in encoder(drawn, encoder.layers).values():
        assert features.square().mean() == pytest.approx(1, abs=0.02)


def test_folding_keeps_what_the_student_sees_away_from_the_border():
    student, textures = Student(4), Textures(6)
    drawn, _ = textures.batch(16, 1.0, torch.Generator().manual_seed(1))
    for _ in range(3):
        student(drawn)
    student.eval()
    seen = []
    student.norms["conv2_2"].register_forward_hook(lambda *call: seen.append(call[-1].relu()))
    student(drawn)
    encoder = Encoder(folded(student, textures), DRAWINGS, "slim")
    ours, theirs = encoder(drawn, ["relu2_2"])["relu2_2"], seen[0]
    ours, theirs = ours[..., 4:-4, 4:-4], theirs[..., 4:-4, 4:-4]
    scale = (ours * theirs).sum() / theirs.square().sum()
    assert (ours - scale * theirs).abs().max() < 0.02 * ours.abs().max()


def test_a_killed_training_goes_on_and_ends_the_same(tmp_path):
    words = "from pathlib import Path; from nsutils.pretrain import train; import sys; "
    words += f"train(Path(sys.argv[1]), **{TINY | {'minutes_between_saves': 0}})"
    train(tmp_path / "whole.safetensors", **TINY)
    state = tmp_path / "cut.state"
    cut = subprocess.Popen([sys.executable, "-c", words, str(tmp_path / "cut.safetensors")])
    while cut.poll() is None and not state.exists():
        pass
    cut.send_signal(signal.SIGKILL)
    cut.wait()
    assert torch.load(state, weights_only=True)["step"] < 12, "it ended before it was killed"
    train(tmp_path / "cut.safetensors", **TINY)
    whole, gone_on = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], gone_on[name]) for name in whole)


@pytest.mark.parametrize(
    ("file", "how", "words"),
    [
        ("nowhere/slim.safetensors", {}, "no .safetensors file in a folder"),
        ("slim.state", {}, "no .safetensors file"),
        ("slim.safetensors", {"pictures": 3}, "nothing to train"),
        ("slim.safetensors", {"batch": 0}, "nothing to train"),
        ("slim.safetensors", {"device": "foo"}, "no device 'foo' here"),
    ],
)
def test_what_cannot_be_trained_is_said_before(tmp_path, file, how, words):
    with pytest.raises(ValueError, match=words):
        train(tmp_path / file, **TINY | how)


def test_the_state_of_another_training_is_named(tmp_path):
    train(tmp_path / "slim.safetensors", **TINY)
    refused = pytest.raises(ValueError, match="is of another training, or damaged; delete it")
    with refused:
        train(tmp_path / "slim.safetensors", **TINY | {"width": 2 * TINY.get("width", 32)})
    (tmp_path / "slim.state").write_text("hello")
    with refused:
        train(tmp_path / "slim.safetensors", **TINY)
