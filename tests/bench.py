"""Speed, memory and start-up, beside a textbook's loop and beside another program; kept apart from the tests.

    python tests/bench.py [--sizes 256,512,1024] [--vgg FILE] [--peer FOLDER] [--objective]

`--vgg` is a file with VGG-19's weights; without one, numbers of the same shapes are made up, which take as long.
`--peer` is a checkout of ProGamerGov/neural-style-pt. `--objective` adds how soon its defaults' value after 1000
iterations is reached. Compare within one run only; nothing else should be running.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

LEAST = 64  # pixels
STEPS = 12  # more than the optimiser remembers, so that its memory is full
LAYERS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="256,512,1024")
    parser.add_argument("--vgg", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--objective", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(MEASURES[asked.one](json.loads(sys.stdin.read()))))
        return
    sizes = asked.sizes.split(",")
    if not all(size.isdigit() and int(size) >= LEAST for size in sizes):
        parser.error(f"--sizes {asked.sizes}: give pixels from {LEAST} on, as 256,512")
    for file in (asked.vgg, asked.peer and asked.peer / "neural_style.py"):
        if file and not file.is_file():
            parser.error(f"there is no {file}")
    with tempfile.TemporaryDirectory() as folder:
        weights = (asked.vgg or made_up(Path(folder))).absolute()
        os.environ["NSUTILS_VGG19"] = str(weights)
        start_up()
        for size in map(int, sizes):
            compare(size, pictures_of(size, Path(folder)), weights, asked.peer)
        if asked.objective:
            objective(pictures_of(256, Path(folder)))


def start_up() -> None:
    """Seconds to import and to say what there is."""
    for words in (
        ["-c", "import nsutils"],
        ["-m", "nsutils.cli", "--help"],
        ["-c", "import torch"],
    ):
        took = []
        for _ in range(3):
            begun = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - begun)
        print(f"python {' '.join(words)}: {min(took):.2f} s")


def compare(size: int, pictures: list[str], weights: Path, peer: Path | None) -> None:
    """A table for one size."""
    from nsutils import encoders

    ways = {
        "slim": {"of": "ours", "encoder": "slim"},
        "slim, float32": {"of": "ours", "encoder": "slim", "precision": "float32"},
        "vgg19": {"of": "ours", "encoder": "vgg19"},
        "vgg19, float32": {"of": "ours", "encoder": "vgg19", "precision": "float32"},
        "vgg19, its preset, bfloat16": {"of": "preset", "precision": "bfloat16"},
        "vgg19, its preset, float32": {"of": "preset", "precision": "float32"},
        "vgg19, textbook": {"of": "textbook"},
    }
    if encoders.quickest(encoders.best_device()) == "float32":
        # what is float32 anyway is not measured twice, nor what is only emulated
        for name in ("slim, float32", "vgg19, float32", "vgg19, its preset, bfloat16"):
            del ways[name]
    if peer:
        ways["vgg19, neural-style-pt"] = {"of": "peer", "peer": str(peer.absolute())}
    print(
        f"\n| {size} px | s a step | times the first | memory beyond torch | of the convolutions' speed |"
    )
    print("| --- | --- | --- | --- | --- |")
    first = None
    for name, way in ways.items():
        found = measured(way | {"size": size, "pictures": pictures, "weights": str(weights)})
        first = first or found["seconds"]
        share = f"{100 * found['plain'] / found['seconds']:.0f} %" if "plain" in found else ""
        cells = [
            f"{found['seconds']:.3f}",
            f"{found['seconds'] / first:.1f}",
            f"{found['bytes'] / 1e9:.2f} GB",
            share,
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measured(way: dict) -> dict:
    """In a process of its own, for its memory is measured as well."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", way["of"]],
        input=json.dumps(way), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def ours(way: dict) -> dict:
    from nsutils import Settings

    how = {name: way[name] for name in ("encoder", "precision") if name in way}
    return stepped(Settings(*way["pictures"], size=way["size"], steps=STEPS, scale_steps=(), **how))


def as_preset(way: dict) -> dict:
    from nsutils import preset

    asked = {"encoder": "vgg19", "precision": way["precision"], "size": way["size"], "steps": STEPS}
    return stepped(preset("neural-style-pt", *way["pictures"], **asked))


def stepped(settings) -> dict:
    from nsutils import encoders, machine, stylize

    device = encoders.best_device()
    before, took = machine.resident_memory(device), []
    encoder = encoders.of(settings)
    begun = time.perf_counter()
    for step in stylize(settings, encoder):
        took.append(time.perf_counter() - begun)
        shape, begun = step.shape, time.perf_counter()
    growth = machine.peak_memory(device) - before
    plain = convolutions(encoder, shape, settings.octaves)
    return {"seconds": sorted(took[1:])[len(took) // 2 - 1], "bytes": growth, "plain": plain}


def convolutions(encoder, shape: tuple[int, int], octaves: int) -> float:
    """Seconds that the convolutions of a step take by themselves, forward and back to their input."""
    import torch
    from torch.nn import functional as F

    from nsutils.encoders import stride_of

    seconds = 0.0
    for octave in range(octaves):
        for name, layer in encoder.convolutions.items():
            side = [max(1, n // 2**octave // stride_of(name)) + 2 for n in shape]
            x = torch.rand(1, layer.in_channels, *side).to(layer.weight)
            x = x.to(memory_format=torch.channels_last)
            took = []
            for _ in range(4):
                begun = time.perf_counter()
                y = F.conv2d(x, layer.weight, layer.bias)
                F.conv_transpose2d(y, layer.weight)
                if x.is_cuda:
                    torch.cuda.synchronize()
                took.append(time.perf_counter() - begun)
            seconds += min(took)
    return seconds


def textbook(way: dict) -> dict:
    """Gatys' loop as tutorials write it: in float32, with PyTorch's own L-BFGS and autograd."""
    import torch
    from torch.nn import functional as F

    from nsutils import encoders, machine, pictures

    device = encoders.best_device()
    before = machine.resident_memory(device)
    encoder = encoders.load("vgg19", precision="float32")
    layers = [(name, c.weight.contiguous(), c.bias) for name, c in encoder.convolutions.items()]

    def features(image):
        found, x = {}, (image - encoder.mean) / encoder.std
        for name, weight, bias in layers:
            if name.endswith("_1") and name != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            found[name] = x
        return found

    def gram(x):
        flat = x[0].flatten(1)
        return flat @ flat.T / flat.numel()

    read = (pictures.fit(pictures.read(p), way["size"]) for p in way["pictures"])
    content, style = (picture.to(device) for picture in read)
    with torch.no_grad():
        wanted = features(content)["relu4_2"]
        grams = {name: gram(x) for name, x in features(style).items() if name in LAYERS}
    image = content.clone().requires_grad_()
    descent = torch.optim.LBFGS([image], max_iter=1)

    def evaluate():
        descent.zero_grad()
        found = features(image)
        loss = F.mse_loss(found["relu4_2"], wanted)
        loss = loss + 1e3 * sum(F.mse_loss(gram(found[name]), grams[name]) for name in LAYERS)
        loss.backward()
        return loss

    took = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        descent.step(evaluate)
        took.append(time.perf_counter() - begun)
    growth = machine.peak_memory(device) - before
    return {"seconds": sorted(took[1:])[len(took) // 2 - 1], "bytes": growth}


def peers(way: dict) -> dict:
    """The whole program with two numbers of iterations; the difference is what a step costs."""
    import resource

    content, style = way["pictures"]
    took, counts = [], (4, STEPS)
    for count in counts:
        words = ["neural_style.py", "-gpu", "c", "-num_iterations", str(count), "-print_iter", "0"]
        words += ["-content_image", content, "-style_image", style, "-image_size", str(way["size"])]
        words += ["-save_iter", "0", "-output_image", "out.png", "-init", "image"]
        words += ["-model_file", way["weights"], "-disable_check"]
        with tempfile.TemporaryDirectory() as folder:
            words[words.index("-output_image") + 1] = f"{folder}/out.png"
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, *words], cwd=way["peer"], check=True, capture_output=True
            )
            took.append(time.perf_counter() - begun)
    peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": (took[1] - took[0]) / (counts[1] - counts[0]), "bytes": peak - bare()}


def bare() -> int:
    """Bytes of a process that has imported PyTorch and done nothing."""
    words = "import torch, psutil; print(psutil.Process().memory_info().rss)"
    return int(
        subprocess.run([sys.executable, "-c", words], capture_output=True, check=True).stdout
    )


MEASURES = {"ours": ours, "preset": as_preset, "textbook": textbook, "peer": peers}


def objective(pictures: list[str]) -> None:
    """How soon the value is reached that neural-style-pt's defaults reach after 1000 iterations, from noise.

    With the kit's own network, for made-up weights have no valley to go down.
    """
    from nsutils import encoders, preset, stylize

    plain = preset("neural-style-pt", *pictures, encoder="slim", size=256)
    begun = time.perf_counter()
    *_, last = stylize(plain, encoders.of(plain))
    wanted, took = last.losses["total"], time.perf_counter() - begun
    print(
        f"\nneural-style-pt's defaults, slim, 256 px, 1000 steps: total {wanted:.6g} in {took:.0f} s"
    )
    ways = {"precision": "auto", "preconditioned": True, "lbfgs_history": 20}
    quick = replace(plain, steps=1500, smallest=64, scale_steps=(150, 150), **ways)
    found = encoders.of(quick)
    begun = time.perf_counter()
    for step in stylize(quick, found):
        again, total = time.perf_counter() - begun, step.losses["total"]
        if total <= wanted or again > took:
            break
    print(
        f"coarse to fine, preconditioned, {found.precision}: {total:.6g} after {step.number} steps in {again:.0f} s,"
        f" {took / again:.1f} times sooner"
    )


def pictures_of(size: int, folder: Path) -> list[str]:
    """Two sample pictures, 4 to 3, as large as asked."""
    from PIL import Image

    from nsutils import sample

    files = []
    for name in ("waterside", "strokes"):
        with Image.open(sample(name)) as image:
            file = folder / f"{name}_{size}.png"
            image.convert("RGB").resize((size, size * 3 // 4)).save(file)
            files.append(str(file))
    return files


def made_up(folder: Path) -> Path:
    """VGG-19 of the true shapes with random weights."""
    import torch

    torch.manual_seed(0)
    state, place, channels = {}, 0, 3
    for wide, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            weight = torch.randn(wide, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            state |= {
                f"features.{place}.weight": weight,
                f"features.{place}.bias": torch.zeros(wide),
            }
            channels, place = wide, place + 2
        place += 1
    torch.save(state, file := folder / "vgg19-random.pth")
    return file


if __name__ == "__main__":
    main()
