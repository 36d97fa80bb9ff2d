import functools
import http.server
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import BLOCKS, torchvision_state
from safetensors.torch import save_file
from scipy.io import savemat

from nsutils import vgg
from nsutils.encoders import load
from nsutils.pictures import hash_of
from nsutils.player import Player
from nsutils.run import Run
from nsutils.settings import ENCODERS, Settings
from nsutils.vgg import cached, convolutions, read


@pytest.fixture
def served(tmp_path):
    """A folder behind a local HTTP server; its address, the folder and the requested paths."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

        def send_header(self, keyword, value):
            wrong = "length" in self.path and keyword == "Content-Length"
            super().send_header(keyword, "many" if wrong else value)

        def copyfile(self, source, target):
            data = source.read()
            target.write(data[: len(data) // 2] if "broken" in self.path else data)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder, asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder that weights are fetched to."""
    monkeypatch.setattr(vgg, "user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path / "cache"


def got(address, monkeypatch):
    """The network that torchvision keeps at an address."""
    monkeypatch.setattr(vgg, "torchvision_url", lambda _: address)
    return cached("vgg19")


def offered(folder, stem="vgg19"):
    """A small weight file in the folder, named by its hash as PyTorch's are."""
    torch.save(torchvision_state(16), folder / "new.pth")
    return (
        (folder / "new.pth").rename(folder / f"{stem}-{hash_of(folder / 'new.pth')[:8]}.pth").name
    )


def test_torchvisions_file_of_the_true_shapes_becomes_vgg19(tmp_path):
    torch.save(torchvision_state(), tmp_path / "vgg19-dcbb9e9d.pth")
    vgg19 = load("vgg19", str(tmp_path / "vgg19-dcbb9e9d.pth"), device="cpu")
    assert vgg19.layers == ENCODERS["vgg19"]
    assert vgg19(torch.rand(1, 3, 32, 32), ["relu5_4"])["relu5_4"].shape == (1, 512, 2, 2)
    assert vgg19.convolutions["relu1_1"].weight.shape == (64, 3, 3, 3)


def test_a_file_named_in_the_environment_is_used(tmp_path, monkeypatch):
    save_file(convolutions(torchvision_state(16)), tmp_path / "mine.safetensors")
    monkeypatch.setenv(vgg.VARIABLE, str(tmp_path / "mine.safetensors"))
    assert load("vgg19", device="cpu").convolutions["relu5_1"].weight.shape[0] == 32


@pytest.mark.parametrize(
    "name", ["text.pth", "cut.pth", "other.pth", "cut.safetensors", "text.mat", "nowhere.pth"]
)
def test_a_wrong_or_damaged_file_is_named_in_one_line(tmp_path, name):
    torch.save(torchvision_state(16), tmp_path / "whole.pth")
    save_file(convolutions(torchvision_state(16)), tmp_path / "whole.safetensors")
    for text in ("text.pth", "text.mat"):
        (tmp_path / text).write_text("not weights")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:5000])
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"^[^\n]*{name}[^\n]*slim[^\n]*$"):
        read(tmp_path / name)


def test_weights_are_fetched_once_and_then_kept_without_the_classifier(
    served, cache, monkeypatch, capsys
):
    address, folder, asked = served
    name = offered(folder)
    first = got(f"{address}/{name}", monkeypatch)
    assert f"{address}/{name}" in capsys.readouterr().out
    assert [file.name for file in cache.iterdir()] == ["vgg19.safetensors"]
    assert set(first.arrays) == set(convolutions(torchvision_state(16)))
    again = got(f"{address}/{name}", monkeypatch)
    assert len(asked) == 1
    assert all(torch.equal(first.arrays[key], again.arrays[key]) for key in first.arrays)


def test_a_file_put_into_the_cache_folder_by_hand_is_taken(served, cache, monkeypatch):
    address, _, asked = served
    cache.mkdir()
    name = offered(cache)
    assert len(got(f"{address}/{name}", monkeypatch).arrays) == 32
    assert not asked


def test_what_a_killed_fetch_left_goes_and_what_another_one_fetches_now_stays(
    served, cache, monkeypatch
):
    address, folder, _ = served
    name = offered(folder)
    cache.mkdir()
    old, new = (cache / f".{own}-{name}" for own in ("00000000", "11111111"))
    for part in (old, new):
        part.write_bytes(b"part")
    os.utime(old, (0, 0))
    got(f"{address}/{name}", monkeypatch)
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(
    "case", ["other bytes", "broken", "length", "no such file", "no server", "no folder"]
)
def test_what_did_not_arrive_leaves_nothing_behind_and_says_the_way_out(
    served, cache, monkeypatch, case
):
    address, folder, _ = served
    name = offered(folder, case if case in ("broken", "length") else "vgg19")
    if case == "other bytes":
        (folder / name).rename(folder / "vgg19-00000000.pth")
        name = "vgg19-00000000.pth"
    if case == "no such file":
        name = "vgg19-11111111.pth"
    if case == "no server":
        address = "http://127.0.0.1:9"
    if case == "no folder":
        cache.write_text("a file in its place")
    with pytest.raises(ValueError) as refused:
        got(f"{address}/{name}", monkeypatch)
    for word in (address, name, str(cache), "--weights", "slim"):
        assert word in str(refused.value)
    assert cache.is_file() or not list(cache.iterdir())


def test_a_damaged_file_in_the_cache_is_fetched_again(served, cache, monkeypatch):
    address, folder, asked = served
    name = offered(folder)
    found = got(f"{address}/{name}", monkeypatch).arrays
    whole = {key: array.clone() for key, array in found.items()}  # they lie in that very file
    (cache / "vgg19.safetensors").write_bytes(b"no weights")
    again = got(f"{address}/{name}", monkeypatch).arrays
    assert len(asked) == 2 and all(torch.equal(whole[key], again[key]) for key in whole)


def test_a_file_that_is_being_put_there_by_hand_is_left_alone(served, cache, monkeypatch):
    address, _, asked = served
    cache.mkdir()
    name = offered(cache)
    whole = (cache / name).read_bytes()
    (cache / name).write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=rf"{name}' is not whole.*Wait until it is there"):
        got(f"{address}/{name}", monkeypatch)
    assert (cache / name).stat().st_size == 1000 and not asked


def test_of_a_download_that_cannot_be_kept_nothing_stays(served, cache, monkeypatch):
    address, folder, _ = served
    name = offered(folder)
    (cache / "vgg19.safetensors").mkdir(parents=True)
    with pytest.raises(OSError, match=r"vgg19\.safetensors"):
        got(f"{address}/{name}", monkeypatch)
    assert [file.name for file in cache.iterdir()] == ["vgg19.safetensors"]


def test_a_hash_tells_two_files_with_the_same_keys_apart_and_else_the_name(tmp_path, monkeypatch):
    torch.save(torchvision_state(16), tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"mine\.pth.*--encoder vgg19 or --encoder vgg19-caffe"):
        read(tmp_path / "mine.pth")
    named = (tmp_path / "mine.pth").rename(tmp_path / "vgg19-d01eb7cb.pth")
    assert read(named)[::2] == ("vgg19-caffe", "name")
    monkeypatch.setitem(vgg.DIGITS, hash_of(named)[:8], "vgg19")
    assert read(named)[::2] == ("vgg19", "hash")
    assert read(named, "vgg19-caffe")[::2] == ("vgg19-caffe", "setting")


def in_matlab(arrays, old=False):
    """The same weights as MatConvNet keeps them: height, width, in, out; red, green, blue."""
    layers = []
    for name in dict.fromkeys(key.split(".")[0] for key in arrays):
        kernel = arrays[f"{name}.weight"].permute(2, 3, 1, 0).numpy()
        bias = arrays[f"{name}.bias"].numpy()[None]
        layer = {"filters": kernel, "biases": bias}
        if not old:
            layer = {"weights": np.array([kernel, bias], dtype=object)}
        layers += [{"name": name, "type": "conv", **layer}]
        layers += [{"name": name.replace("conv", "relu"), "type": "relu"}]
    return {"layers": np.array(layers, dtype=object)}


@pytest.mark.parametrize("depth", BLOCKS)
def test_caffes_networks_see_the_same_whatever_file_they_come_from(tmp_path, depth):
    state = torchvision_state(16, depth)
    plain = convolutions(state)
    turned = plain | {"conv1_1.weight": plain["conv1_1.weight"].flip(1)}
    torch.save(state, tmp_path / "converted.pth")
    torch.save(plain, tmp_path / "vgg_conv.pth")
    savemat(tmp_path / "imagenet.mat", in_matlab(turned))
    savemat(tmp_path / "older.mat", in_matlab(turned, old=True))
    name = f"{depth}-caffe"
    picture = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    bgr = 255 * picture.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    padded = F.pad(bgr, (1, 1, 1, 1), mode="reflect")
    first = F.conv2d(padded, state["features.0.weight"], state["features.0.bias"]).relu()
    for file in ("converted.pth", "vgg_conv.pth", "imagenet.mat", "older.mat"):
        asked = name if file == "converted.pth" else "vgg"
        encoder = load(asked, str(tmp_path / file), "cpu", "float32")
        assert encoder.name == name
        seen = encoder(picture, ["relu1_1"])["relu1_1"]
        assert torch.allclose(seen, first, rtol=1e-4, atol=1e-3), file


def test_a_file_that_is_another_network_is_not_taken_for_the_one_asked_for(tmp_path):
    torch.save(convolutions(torchvision_state(16, "vgg16")), tmp_path / "vgg_conv.pth")
    with pytest.raises(ValueError, match=r"vgg_conv\.pth.*vgg16-caffe.*keys.*not vgg19"):
        read(tmp_path / "vgg_conv.pth", "vgg19")


def test_weights_without_an_encoder_are_told_by_their_file(content, style, tmp_path):
    asked = Settings(content, style, weights="vgg_conv.pth")
    assert asked.encoder == "vgg" and Settings(content, style).encoder == "slim"
    with pytest.raises(ValueError, match=r"slim.*own weights"):
        Settings(content, style, encoder="slim", weights="vgg_conv.pth")


def test_a_run_notes_its_network_and_goes_on_with_it(settings, tmp_path):
    torch.save(convolutions(torchvision_state(16)), tmp_path / "vgg_conv.pth")
    short = {"steps": 2, "scale_steps": (1,), "smallest": 32}
    asked = replace(settings, encoder="vgg", weights=str(tmp_path / "vgg_conv.pth"), **short)
    run = Player(Run.create(tmp_path / "run", asked)).play()
    assert run.status == "done"
    assert run.meta["encoder"] == {"name": "vgg19-caffe", "told_by": "keys"}
    longer = Player(run)
    longer.steer(steps=3)
    longer.play()
    assert run.meta["encoder"] == {"name": "vgg19-caffe", "told_by": "keys"}
    assert len(run.metrics) == 3


def test_what_told_the_network_stands_when_a_run_goes_on(settings, tmp_path):
    file = tmp_path / "vgg19-d01eb7cb.pth"
    torch.save(torchvision_state(16), file)
    asked = replace(settings, encoder=None, weights=str(file), steps=1, scale_steps=(), smallest=32)
    run = Player(Run.create(tmp_path / "run", asked)).play()
    longer = Player(run)
    longer.steer(steps=2)
    longer.play()
    assert run.meta["encoder"] == {"name": "vgg19-caffe", "told_by": "name"}


def test_a_file_whose_name_says_another_network_is_read_as_asked_and_that_is_noted(tmp_path):
    torch.save(torchvision_state(16), tmp_path / "vgg19-dcbb9e9d.pth")
    asked = read(tmp_path / "vgg19-dcbb9e9d.pth", "vgg19-caffe")
    assert (asked.name, asked.told_by) == ("vgg19-caffe", "setting, against the file's name")
    assert read(tmp_path / "vgg19-dcbb9e9d.pth", "vgg19").told_by == "setting"


def test_the_environments_vgg19_is_not_taken_for_a_vgg16(tmp_path, monkeypatch):
    torch.save(torchvision_state(16), tmp_path / "mine.pth")
    monkeypatch.setenv(vgg.VARIABLE, str(tmp_path / "mine.pth"))
    assert load("vgg19", device="cpu").name == "vgg19"
    with pytest.raises(ValueError, match=r"vgg16-caffe.*not fetched"):
        load("vgg16-caffe", device="cpu")


def test_what_is_not_fetched_says_so():
    with pytest.raises(ValueError, match=r"vgg19-caffe.*weights.*slim"):
        load("vgg19-caffe", device="cpu")


def test_weights_that_are_no_numbers_are_refused_in_one_line(tmp_path):
    state = torchvision_state(16)
    state["features.5.weight"][0, 0] = float("nan")
    torch.save(state, file := tmp_path / "vgg19-dcbb9e9d.pth")
    with pytest.raises(ValueError, match="conv2_1 has values that are no numbers"):
        read(file, "vgg19")
