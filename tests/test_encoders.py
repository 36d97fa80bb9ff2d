import functools
import http.server
import threading

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from nsutils import encoders
from nsutils.encoders import VGG19_BLOCKS, cached, convolutions, load, read, sha256
from nsutils.settings import ENCODERS, PRECISIONS


def torchvision_state(width=1):
    """A state with torchvision's keys and VGG-19's layout, `width` times as narrow as 64 ... 512."""
    state, place, channels = {}, 0, 3
    for wide, depth in zip((64, 128, 256, 512, 512), VGG19_BLOCKS, strict=True):
        for _ in range(depth):
            state[f"features.{place}.weight"] = (
                torch.randn(wide // width, channels, 3, 3) / (9 * channels) ** 0.5
            )
            state[f"features.{place}.bias"] = torch.zeros(wide // width)
            channels, place = wide // width, place + 2
        place += 1
    return state | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}


@pytest.fixture
def served(tmp_path):
    """A folder behind a local HTTP server; its address, the folder and the requested paths."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

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


def offered(folder, stem="vgg19"):
    """A small weight file in the folder, named by its hash as PyTorch's are."""
    torch.save(torchvision_state(16), folder / "new.pth")
    return (folder / "new.pth").rename(folder / f"{stem}-{sha256(folder / 'new.pth')[:8]}.pth").name


def test_bfloat16_sees_nearly_what_float32_sees_and_hands_out_float32():
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    exact, coarse = (
        load("slim", device="cpu", precision=precision)(image, ENCODERS["slim"])
        for precision in ("float32", "bfloat16")
    )
    for layer, features in exact.items():
        assert coarse[layer].dtype == torch.float32
        apart = (coarse[layer] - features).square().mean() / features.square().mean()
        assert 0 < apart < 0.02**2, layer


def test_a_precision_is_found_by_trying():
    assert load("slim", device="cpu").precision in PRECISIONS[1:]


def test_slim_has_vgg19s_thirteen_layers_to_relu5_1():
    slim = load("slim", device="cpu")
    assert slim.layers == ENCODERS["slim"]
    assert len(slim.layers) == 13
    assert encoders.SLIM_FILE.stat().st_size < 8e6
    assert sha256(encoders.SLIM_FILE) in encoders.SLIM_FILE.with_name("README.md").read_text()


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


def test_nothing_is_computed_beyond_the_deepest_layer_asked_for(encoder):
    encoder.convolutions["relu2_2"] = torch.nn.Identity()
    assert set(encoder(torch.rand(1, 3, 8, 8), ["relu1_2", "relu2_1"])) == {"relu1_2", "relu2_1"}


def test_an_unknown_layer_is_named_with_those_that_are_there(encoder):
    with pytest.raises(ValueError, match=r"'relu9_9'.*relu1_1, relu1_2, relu2_1, relu2_2"):
        encoder(torch.rand(1, 3, 8, 8), ["relu9_9"])


def test_torchvisions_file_of_the_true_shapes_becomes_vgg19(tmp_path):
    torch.save(torchvision_state(), tmp_path / "vgg19-dcbb9e9d.pth")
    vgg19 = load("vgg19", str(tmp_path / "vgg19-dcbb9e9d.pth"), device="cpu")
    assert vgg19.layers == ENCODERS["vgg19"]
    assert vgg19(torch.rand(1, 3, 32, 32), ["relu5_4"])["relu5_4"].shape == (1, 512, 2, 2)
    assert vgg19.convolutions["relu1_1"].weight.shape == (64, 3, 3, 3)


def test_a_file_named_in_the_environment_is_used(tmp_path, monkeypatch):
    save_file(convolutions(torchvision_state(16)), tmp_path / "mine.safetensors")
    monkeypatch.setenv(encoders.VGG19_VARIABLE, str(tmp_path / "mine.safetensors"))
    assert load("vgg19", device="cpu").convolutions["relu5_1"].weight.shape[0] == 32


@pytest.mark.parametrize(
    "name", ["text.pth", "cut.pth", "other.pth", "cut.safetensors", "nowhere.pth"]
)
def test_a_wrong_or_damaged_file_is_named_in_one_line(tmp_path, name):
    torch.save(torchvision_state(16), tmp_path / "whole.pth")
    save_file(convolutions(torchvision_state(16)), tmp_path / "whole.safetensors")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:5000])
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"^[^\n]*{name}[^\n]*slim[^\n]*$"):
        read(tmp_path / name)


def test_weights_are_fetched_once_and_then_kept_without_the_classifier(served, tmp_path, capsys):
    address, folder, asked = served
    name = offered(folder)
    first = cached(f"{address}/{name}", tmp_path / "cache")
    assert f"{address}/{name}" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["vgg19.safetensors"]
    assert set(first) == set(convolutions(torchvision_state(16)))
    again = cached(f"{address}/{name}", tmp_path / "cache")
    assert len(asked) == 1
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_a_file_put_into_the_cache_folder_by_hand_is_taken(served, tmp_path):
    address, _, asked = served
    (tmp_path / "cache").mkdir()
    name = offered(tmp_path / "cache")
    assert len(cached(f"{address}/{name}", tmp_path / "cache")) == 32
    assert not asked


@pytest.mark.parametrize("case", ["other bytes", "broken transfer", "no such file", "no server"])
def test_what_did_not_arrive_leaves_nothing_behind_and_says_the_way_out(served, tmp_path, case):
    address, folder, _ = served
    name = offered(folder, "broken" if case == "broken transfer" else "vgg19")
    if case == "other bytes":
        (folder / name).rename(folder / "vgg19-00000000.pth")
        name = "vgg19-00000000.pth"
    if case == "no such file":
        name = "vgg19-11111111.pth"
    if case == "no server":
        address = "http://127.0.0.1:9"
    with pytest.raises(ValueError) as refused:
        cached(f"{address}/{name}", tmp_path / "cache")
    for word in (address, name, str(tmp_path / "cache"), "--weights", "slim"):
        assert word in str(refused.value)
    assert not list((tmp_path / "cache").iterdir())
