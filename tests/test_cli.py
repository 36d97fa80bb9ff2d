import errno
import functools
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path

import psutil
import pytest
import torch
from conftest import half, torchvision_state
from PIL import Image, ImageChops

from nsutils import Run, Settings, __version__, pictures, sample
from nsutils.cli import main, parser
from nsutils.recipe import command_line
from nsutils.report import report
from nsutils.settings import NOTES
from nsutils.table import shortened

SMALL = ["--size", "64", "--smallest", "52", "--steps", "6", "--scale-steps", "2,2"]


@pytest.fixture
def refused(capfd):
    """Runs the command with these words; the one line on standard error with which it refuses."""

    def refused(*words):
        with pytest.raises(SystemExit) as left:
            sys.exit(main(list(map(str, words))))
        said = capfd.readouterr()
        assert left.value.code == 2
        (line,) = said.err.splitlines()
        assert not said.out
        return line

    return refused


def test_run_leaves_a_run_in_the_folder_asked_for(content, style, tmp_path):
    words = [
        "run",
        content,
        style,
        "--out",
        str(tmp_path / "run"),
        *SMALL,
        "--style-layers",
        "pixels,relu1_1",
    ]
    words += [
        "--layer-weights",
        "pixels=2",
        "--init",
        "noise",
        "--seed",
        "3",
        "--every",
        "4",
        "--optimizer",
        "adam",
    ]
    assert main(words) == 0
    run = Run(tmp_path / "run")
    assert run.status == "done" and list(run.images) == [0, 4, 6]
    made = run.settings
    assert (made.style_layers, made.layer_weights) == (("pixels", "relu1_1"), {"pixels": 2.0})
    assert (made.init, made.seed, made.optimizer, made.scale_steps) == ("noise", 3, "adam", (2, 2))


def test_styles_have_shares_and_scales_and_may_be_a_folder(content, style, tmp_path, refused):
    (tmp_path / "styles").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "styles" / name).write_bytes(Path(style).read_bytes())
    (tmp_path / "styles" / "._a.png").write_bytes(b"as macOS leaves them")
    words = ["run", content, str(tmp_path / "styles"), *SMALL, "--style-blend-weights", "3,7"]
    assert "3 numbers for 2 styles" in refused(*words[:-1], "1,2,3")
    assert "scale of a style is 0" in refused(*words, "--style-scale", "0")
    assert "1 numbers for 2 styles" in refused(*words, "--style-blend-weights", "3")
    assert "style picture is empty" in refused("run", content, "", *SMALL)
    assert main([*words, "--style-scale", "0.7", "--out", str(tmp_path / "run")]) == 0
    assert [(s.weight, s.scale) for s in Run(tmp_path / "run").settings.styles] == [
        (3, 0.7),
        (7, 0.7),
    ]


def rows_of_the_readme():
    """What the README's table says that the options of another program are called here."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    table = text.split("| there | here | |")[1].split("\n\n")[0]
    cells = [line.split("|")[2].strip().strip("`") for line in table.splitlines()[2:]]
    return [cell for cell in cells if cell.startswith("--")]


@pytest.mark.parametrize("row", rows_of_the_readme())
def test_every_row_of_the_readmes_table_does_what_it_says(
    row, content, style, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("me.jpg").write_bytes(Path(content).read_bytes())
    torch.save(torchvision_state(16), "vgg19-d01eb7cb.pth")
    row = {"--size 512": "--size 72", "--steps 1000": "--steps 3"}.get(row, row)
    words = ["run", content, style, style, "--size", "64", "--steps", "2", "--preset", "jcjohnson"]
    words += ["--out", "run", *([] if "--weights" in row else ["--encoder", "slim"]), *row.split()]
    assert main(words) == 0
    run, name = Run("run"), row.split()[0][2:].replace("-", "_")
    asked, made = getattr(parser().parse_args(words), name), asdict(run.settings)
    made["style_blend_weights"] = tuple(style.weight for style in run.settings.styles)
    made["style_scale"] = tuple(style.scale for style in run.settings.styles[:1])
    made["device"] = run.meta["device"]
    made["weights"] = made["weights"] and Path(made["weights"]).name
    made["save"] = "out.png" if Path("out.png").exists() else None
    made["init"] = run.meta["inputs"].get("init", {"name": made["init"]})["name"]
    assert made[name] == asked
    assert len(run.metrics) == run.settings.steps and run.status == "done"


def test_a_style_is_taught_once_and_used_without_its_picture(
    content, style, tmp_path, capfd, refused
):
    file = tmp_path / "taught.safetensors"
    assert main(["target", style, "-o", str(file), *SMALL]) == 0
    assert f"{file} (" in capfd.readouterr().out and file.stat().st_size < 4e6
    assert main(["run", content, str(file), *SMALL, "--out", str(tmp_path / "taught")]) == 0
    assert main(["run", content, style, *SMALL, "--out", str(tmp_path / "plain")]) == 0
    taught, plain = (Run(tmp_path / name) for name in ("taught", "plain"))
    assert taught.result.read_bytes() != plain.result.read_bytes(), "the settings inside differ"
    assert taught.picture().tobytes() == plain.picture().tobytes()
    capfd.readouterr()
    assert "does not end in .safetensors" in refused("target", style, "-o", tmp_path / "a.pt")


def test_the_contents_colours_come_back_without_a_new_run(content, style, tmp_path, refused, capfd):
    assert main(["run", content, style, *SMALL, "--out", str(tmp_path / "run")]) == 0
    before = Run(tmp_path / "run").result.read_bytes()
    for name in ("none.png", "half.jpg", "whole.tif"):
        amount = {"none": "0", "half": "0.5", "whole": "1"}[name.split(".")[0]]
        words = ["colour", str(tmp_path / "run"), "--amount", amount, "-o", str(tmp_path / name)]
        assert main(words) == 0
    whole, meant = (
        pictures.opened(file).convert("YCbCr") for file in (tmp_path / "whole.tif", content)
    )
    apart = ImageChops.difference(whole, meant).getchannel("Cb")
    assert sorted(apart.tobytes())[apart.width * apart.height // 2] <= 3
    assert pictures.opened(tmp_path / "half.jpg").size == (64, 40)
    assert Run(tmp_path / "run").result.read_bytes() == before
    capfd.readouterr()
    assert "give a number from 0 to 1" in refused(*words[:3], "2", *words[4:])
    assert "no picture yet" in refused(
        "colour", Run.create(tmp_path / "new", Settings(content, style)).folder, "-o", "a.png"
    )


@pytest.mark.parametrize(
    ("file", "format"), [("a.png", "PNG"), ("a.jpeg", "JPEG"), ("a.TIF", "TIFF")]
)
def test_a_picture_is_saved_by_its_ending(content, style, tmp_path, file, format):
    words = ["run", content, style, *SMALL, "--out", str(tmp_path / "run")]
    assert main([*words, "--save", str(tmp_path / file)]) == 0
    with Image.open(tmp_path / file) as image:
        assert (image.format, image.mode, image.size) == (format, "RGB", (64, 40))


def test_a_preset_enlarges_and_says_so_and_names_a_network_not_its_own(
    content, style, tmp_path, capsys
):
    words = ["run", content, style, "--preset", "jcjohnson", "--encoder", "slim", "--size", "72"]
    assert main([*words, "--steps", "1", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "72 x 45 px, enlarged from 64 x 40; style.png is enlarged, too" in said
    assert "the network is the kit's own" in said
    assert Run(tmp_path / "run").picture().size == (72, 45)


def test_without_out_a_new_folder_is_the_last_line_printed(
    content, style, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("nsutils.samples.RUNS", tmp_path / "runs")
    assert main(["run", content, style, *SMALL]) == 0
    assert main(["run", content, style, *SMALL]) == 0
    last = Path(capsys.readouterr().out.splitlines()[-1])
    assert Run(last).status == "done"
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_every_setting_is_an_option_with_a_note_and_its_default(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for field in fields(Settings):
        if field.name not in ("content", "styles"):
            assert re.search(f"--{field.name.replace('_', '-')}[ ,]", said)
            assert " ".join(NOTES[field.name].split()[:4]) in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--size", "0"), ("size", "0", "32")),
        (("--size", "large"), ("--size", "large")),
        (("--octaves", "99"), ("octaves", "99", "16")),
        (("--preset", "picasso"), ("picasso", "gatys")),
        (("--preset", "gatys"), ("vgg19-caffe", "weights", "slim")),
        (("--save", "a.gif"), ("a.gif", ".tiff")),
        (("--save", ""), ("--save", "empty")),
        (("--out", ""), ("--out", "empty")),
        (("--betas", "0.9"), ("betas", "0.9")),
        (("--original-colors", "1.5"), ("original_colors", "1.5")),
        (("--device", "abacus"), ("abacus", "cpu")),
        (("--device", "meta"), ("meta", "cpu")),
        (("--init", "random"), ("init", "random", "noise", "content")),
        (("--roll",), ("roll", "adam")),
        (("--save", "no/such/folder/a.png"), ("no/such/folder/a.png", "folder")),
        (("--steps", "-5"), ("steps", "-5")),
        (("--style-weight", "much"), ("--style-weight", "much")),
        (("--style-weight", "nan"), ("style_weight", "nan")),
        (("--style-layers", "relu9_9"), ("relu9_9", "relu5_1")),
        (("--content-layers", ","), ("content_layers", "relu1_1")),
        (("--layer-weights", "relu1_1"), ("relu1_1", "pixels=5")),
        (("--encoder", "resnet"), ("resnet", "slim")),
        (("--init", "nowhere.png"), ("nowhere.png",)),
        (("--encoder", "vgg19", "--weights", "nowhere.pth"), ("nowhere.pth", "slim")),
        (("--colour", "1"), ("--colour",)),
        (("--style_weight", "3"), ("--style_weight", "perhaps --style-weight;", "run --help")),
        (("--tv-wieght=3",), ("--tv-wieght", "perhaps --tv-weight;")),
    ],
)
def test_a_bad_option_ends_with_one_line_that_names_it(
    refused, content, style, tmp_path, words, named
):
    line = refused("run", content, style, "--out", tmp_path / "run", *words)
    for word in named:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_bad_files_end_with_one_line_that_names_them(refused, content, style, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty").mkdir()
    for bad in ("text.jpg", "empty", "nowhere.jpg"):
        assert bad in refused("run", tmp_path / bad, style)
        assert bad in refused("run", content, tmp_path / bad)
    assert "no run in" in refused("report", tmp_path / "empty", "-o", tmp_path / "a.html")
    assert "COMMAND" in refused()


def test_a_folder_that_holds_a_run_is_refused(refused, content, style, tmp_path, capfd):
    assert main(["run", content, style, "--out", str(tmp_path / "run"), *SMALL]) == 0
    capfd.readouterr()
    assert "already holds a run" in refused("run", content, style, "--out", tmp_path / "run")


def test_a_report_is_written(content, style, tmp_path, capsys):
    main(["run", content, style, "--out", str(tmp_path / "run"), *SMALL])
    assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "a.html")]) == 0
    assert "content.png in the style of style.png" in (tmp_path / "a.html").read_text()
    assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "no" / "a.html")]) == 2


def test_a_sweep_leaves_a_run_for_each_combination_and_one_picture_of_all(
    content, style, tmp_path, capfd
):
    words = ["sweep", content, style, "--out", str(tmp_path / "trials"), *SMALL]
    words += ["--vary", "style-layers=pixels;pixels;pixels,relu1_1", "--vary", "roll=no,yes"]
    words += ["--optimizer", "adam", "--save", str(tmp_path / "grid.png")]
    assert main(words) == 0
    made = [Run(file.parent) for file in (tmp_path / "trials").glob("*/settings.json")]
    asked = {(run.settings.style_layers, run.settings.roll) for run in made}
    layers = ("pixels",), ("pixels", "relu1_1")
    assert asked == {(one, roll) for one in layers for roll in (True, False)}
    assert {run.status for run in made} == {"done"} and len(made) == 4
    with Image.open(tmp_path / "grid.png") as image:
        assert image.width > 2 * 320 and image.height > 2 * 200
    assert "done: 4 of 4 runs" in capfd.readouterr().out
    assert main([*words[:-2], "--vary", "seed=0,1", "--workers", "2"]) == 0
    assert len(list((tmp_path / "trials").glob("*/result.png"))) == 8


def test_a_sweep_says_which_runs_failed_when_the_others_are_done(content, style, tmp_path, capfd):
    words = ["sweep", content, style, "--out", str(tmp_path / "trials"), *SMALL, "--no-bounded"]
    words += ["--precision", "float32", "--vary", "style_weight=1,1e38"]
    assert main(words) == 1
    said = capfd.readouterr()
    assert "done: 1 of 2 runs" in said.out
    assert "1 of 2 runs are not done (style_weight_1e+38-" in said.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), ("--vary",)),
        (("--vary", "size"), ("size", "style_weight=0.3,1,3")),
        (("--vary", "size="), ("size=", "style_weight=0.3,1,3")),
        (("--vary", "stile=1"), ("stile", "style_weight")),
        (("--vary", "size=64,large"), ("large", "whole number")),
        (("--vary", "size=64,1"), ("size", "1", "32")),
        (("--vary", "roll=1"), ("'1'", "yes", "no")),
        (("--vary", "size=64", "--vary", "size=65"), ("size", "twice")),
        (("--vary", "size=64", "--workers", "0"), ("workers", "0", "1")),
        (("--vary", "size=64", "--save", "a.gif"), ("a.gif", ".tiff")),
        (("--vary", "init=content,nowhere.png"), ("nowhere.png",)),
        (("--vary", "encoder=slim,vgg16-caffe"), ("vgg16-caffe", "weights")),
    ],
)
def test_a_bad_sweep_ends_with_one_line_that_names_it(
    refused, content, style, tmp_path, words, named
):
    line = refused("sweep", content, style, "--out", tmp_path / "trials", *words)
    for word in named:
        assert word in line


def test_ctrl_c_keeps_the_picture_so_far(content, style, tmp_path):
    words = [
        sys.executable,
        "-m",
        "nsutils.cli",
        "run",
        content,
        style,
        "--out",
        str(tmp_path / "run"),
    ]
    words += [*SMALL[:4], "--steps", "100000"]
    playing = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it runs in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    for line in playing.stdout:
        if re.search(r"[1-9]\d*/100000", line):
            break
    playing.send_signal(signal.SIGINT)
    _, complaints = playing.communicate(timeout=60)
    run = Run(tmp_path / "run")
    assert playing.returncode == 130 and "Traceback" not in complaints
    assert run.status == "stopped" and run.result.exists()
    assert run.last.number == run.metrics[-1]["step"] > 0


def test_the_words_of_help_come_without_torch():
    listed = "import sys; from nsutils.cli import parser; parser(); print('torch' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True, env=os.environ
    )
    assert said.stdout.strip() == "False"


@pytest.fixture
def run(content, style, tmp_path):
    """A small run in a folder of runs."""
    assert main(["run", content, style, "--out", str(tmp_path / "runs" / "one"), *SMALL]) == 0
    return Run(tmp_path / "runs" / "one")


def test_resume_goes_on_to_more_steps_and_refuses_a_run_that_has_made_them(run, refused, capfd):
    assert main(["resume", str(run.folder), "--steps", "9", "--style-weight", "3"]) == 0
    assert re.search(r"one goes on: 3 steps left of 9, about \d+ s\n", capfd.readouterr().out)
    assert len(run.metrics) == 9
    assert run.steering == [{"step": 6, "style_weight": 3.0, "steps": 9}]
    assert "has made all its 9 steps; give more with --steps" in refused("resume", run.folder)
    assert "has made 9 steps already; give more" in refused("resume", run.folder, "--steps", "2")
    assert "it has no settings.json" in refused("resume", run.folder.parent)
    assert "there is no such folder" in refused("resume", run.folder / "nowhere")


def test_resume_writes_a_picture_again_that_is_lost_or_is_to_have_other_colours(run, capfd):
    before, made = run.result.read_bytes(), run.metrics
    for damage in (run.result.unlink, lambda: run.result.write_bytes(before[:50])):
        damage()
        assert main(["resume", str(run.folder)]) == 0
        assert Run(run.folder).result.read_bytes() == before
    assert main(["resume", str(run.folder), "--original-colors", "1"]) == 0
    assert run.result.read_bytes() != before and run.metrics == made


def test_a_run_whose_picture_cannot_be_saved_is_told_all_the_same(content, style, tmp_path, capfd):
    words = ["run", content, style, *SMALL, "--save"]
    (tmp_path / "a.png").mkdir()
    assert main([*words, str(tmp_path / "a.png")]) == 2
    assert "it is a folder" in capfd.readouterr().err
    out = tmp_path / "run"
    assert main([*words, "/proc/a.png", "--out", str(out)]) != 0
    assert f"done: {out}" in capfd.readouterr().out and Run(out).status == "done"


def test_letters_that_the_terminal_lacks_stop_nothing(content, style, tmp_path):
    words = ["run", content, style, *SMALL, "--out", str(tmp_path / "grün")]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    told = subprocess.run(
        [sys.executable, "-m", "nsutils.cli", *words], env=ascii_only, capture_output=True
    )
    assert told.returncode == 0 and b"gr?n" in told.stdout.splitlines()[-1]
    assert Run(tmp_path / "grün").status == "done"


def test_what_a_run_refuses_to_go_on_with_is_not_written_into_its_record(run, refused, capfd):
    asked = ["--size", "60000", "--enlarge", "content", "--steps", "9"]
    assert main(["resume", str(run.folder), *asked]) == 2
    assert "of memory" in capfd.readouterr().err and run.steering == []
    assert main(["resume", str(run.folder), "--steps", "7"]) == 0 and run.made == 7


def test_a_run_with_another_content_than_it_began_with_does_not_go_on(run, style, capfd):
    (run.folder / "inputs" / "content.png").write_bytes(Path(style).read_bytes())
    picture, folder = run.result.read_bytes(), str(run.folder)
    for words in (["resume", folder, "--steps", "9"], ["rerun", folder], ["fork", folder]):
        assert main(words) == 2
        assert "put 'content.png' back in its place" in capfd.readouterr().err
    assert run.made == 6 and run.status == "done" and run.result.read_bytes() == picture


def test_a_run_whose_files_are_gone_or_damaged_says_so_and_goes_on_when_mended(run, capfd):
    metrics, folder = run.folder / "metrics.csv", str(run.folder)
    picture, moved = run.folder / "inputs" / "content.png", run.folder / "moved.png"
    more = ["resume", folder, "--steps", "9"]
    metrics.write_bytes(b"garbage,,\n" + metrics.read_bytes())
    for words in (more, ["fork", folder], ["report", folder], ["rerun", folder]):
        assert main(words) == 2
        assert "metrics.csv' is damaged (no column step); delete it" in capfd.readouterr().err
    metrics.unlink()
    picture.rename(moved)
    assert main(more) == 2
    assert "is gone; put 'content.png' back in its place" in capfd.readouterr().err
    moved.rename(picture)
    assert main(more) == 0
    assert run.made == 9 and "style has hardly come" not in capfd.readouterr().out


def test_a_fork_of_a_prolonged_run_is_told_where_that_was_to_end(run, refused, tmp_path, capfd):
    assert main(["resume", str(run.folder), "--steps", "9"]) == 0
    assert Run(run.folder).in_words == "done, 9 of 9 steps"
    capfd.readouterr()
    words = ["fork", run.folder, "--step", "6", "--tv-weight", "1", "--out", tmp_path / "two"]
    assert "at step 6 'one' was to end; give an earlier --step, or more" in refused(*words)


def test_nothing_is_written_over_a_runs_own_files_nor_what_it_was_made_from(
    run, content, style, refused, capfd
):
    capfd.readouterr()
    folder, made_from = run.folder, "is what the picture is made from; write another file"
    for file in (content, style):
        assert made_from in refused("colour", folder, "-o", file)
        assert made_from in refused("compare", folder, folder, "-o", file)
    for file in ("result.png", "inputs/content.png", "images/a.png"):
        assert "is a run's own file" in refused("colour", folder, "-o", folder / file)
        assert "is a run's own file" in refused("compare", folder, folder, "-o", folder / file)
    assert "is a run's own file" in refused("film", folder, "-o", folder / "images" / "a.gif")
    assert main(["colour", str(folder), "-o", str(folder / "other.png")]) == 0
    other = Run.create(folder.with_name("two"), run.settings)
    capfd.readouterr()
    for words in (
        ("compare", folder, folder, "-o", other.result),
        ("run", content, style, "--save", other.result),
        ("target", style, "--size", "64", "-o", other.folder / "inputs" / "a.safetensors"),
    ):
        assert "is a run's own file; write another" in refused(*words)
    (folder.parents[1] / "project" / "images").mkdir(parents=True)
    (folder.parents[1] / "project" / "settings.json").write_text("{}")
    elsewhere = folder.parents[1] / "project" / "images" / "a.png"
    assert main(["colour", str(folder), "-o", str(elsewhere)]) == 0


def test_a_single_mask_may_have_a_comma_in_its_name(content, style, tmp_path):
    mask = tmp_path / "left, half.png"
    half().save(mask)
    words = ["run", content, style, *SMALL, "--steps", "1", "--out", str(tmp_path / "run")]
    assert main([*words, f"--style-where={mask}"]) == 0
    run = Run(tmp_path / "run")
    assert run.meta["inputs"]["where_1"]["name"] == mask.name in command_line(run)


def test_the_workers_of_a_sweep_that_is_killed_end(content, style, tmp_path):
    words = ["sweep", content, style, *SMALL[:-4], "--steps", "4000", "--every", "4000"]
    words += ["--vary", "seed=0,1", "--workers", "2", "--out", str(tmp_path / "sweep")]
    command = [sys.executable, "-m", "nsutils.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as parent:
        runs = []
        while len(runs) < 2 and parent.poll() is None:
            runs = [Run(file.parent) for file in tmp_path.glob("sweep/*/settings.json")]
            runs = [run for run in runs if run.made]
            with suppress(subprocess.TimeoutExpired):
                parent.wait(0.05)
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert {run.meta["pid"] for run in runs} <= {worker.pid for worker in workers}
        parent.kill()
        _, left = psutil.wait_procs(workers, timeout=30)
    assert not left and {run.status for run in runs} == {"interrupted"}


def test_a_forecast_refuses_what_a_run_refuses(content, style, refused):
    for words, said in (
        (("--mask", "nowhere.png"), "nowhere.png"),
        (("--style-where", "nowhere.png"), "nowhere.png"),
        (("--init", "nowhere.png"), "nowhere.png"),
        (("--laplacian-weight", "1", "--laplacian-pools", "500"), "laplacian_pools is 500"),
        (("--precision", "float16", "--normalize-gradients"), "normalize_gradients is on"),
    ):
        assert said in refused("forecast", content, style, *SMALL, *words)


def test_no_coarse_scales_are_told_from_those_that_follow_the_steps(content, style):
    for text, expected in {"none": None, "": (), "3,2": (3, 2)}.items():
        asked = parser().parse_args(["run", content, style, "--scale-steps", text])
        assert asked.scale_steps == expected


def test_a_tree_is_in_no_order_but_its_own(run, refused, capfd):
    capfd.readouterr()
    for more in (("--sort", "seconds"), ("--reverse",)):
        assert "leave --tree away" in refused("runs", run.folder.parent, "--tree", *more)


def test_contours_for_which_the_picture_is_too_small_are_refused(
    content, style, tmp_path, refused, capfd
):
    words = ["run", content, style, *SMALL, "--laplacian-weight", "1", "--laplacian-pools", "4,64"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    capfd.readouterr()
    words = [*words[:-1], "64", "--out", tmp_path / "refused"]
    assert "laplacian_pools is 64; for a picture of 64 x 40 px give one of 13 at most" in refused(
        *words
    )
    assert not (tmp_path / "refused").exists()


def test_a_fork_that_would_make_no_step_is_refused_and_leaves_no_folder(run, refused, tmp_path):
    assert "has made all its 6" in refused(
        "fork", run.folder, "--tv-weight", "1", "--out", tmp_path / "two"
    )
    assert not (tmp_path / "two").exists()
    words = ["fork", str(run.folder), "--original-colors", "1", "--out", str(tmp_path / "two")]
    assert main(words) == 0
    assert Run(tmp_path / "two").result.read_bytes() != run.result.read_bytes()


def test_fork_leaves_the_run_after_a_step(run, tmp_path, capfd):
    words = ["fork", str(run.folder), "--step", "4", "--tv-weight", "1", "--steps", "9"]
    capfd.readouterr()
    assert main([*words, "--out", str(tmp_path / "runs" / "two")]) == 0
    said = capfd.readouterr().out
    assert re.search(r"two leaves one after step 4: 5 steps left of 9, about \d+ s\n", said)
    new = Run(tmp_path / "runs" / "two")
    assert new.meta["parent"]["name"] == "one" and new.made == 9
    assert new.steering == [{"step": 4, "tv_weight": 1.0, "steps": 9}]
    assert new.metrics[:3] == run.metrics[:3] and new.status == "done"
    words = ["fork", str(run.folder), "--step", "4", "--steps", "9"]
    assert main([*words, "--out", str(tmp_path / "runs" / "three")]) == 0
    said = capfd.readouterr().out
    assert "whose first 4 steps are made again: 9 steps left of 9, about" in said
    assert Run(tmp_path / "runs" / "three").made == 9


def test_rerun_says_whether_the_picture_is_the_same(run, tmp_path, capfd, refused):
    assert main(["report", str(run.folder), "-o", str(tmp_path / "r.html")]) == 0
    assert main(["report", str(run.folder), "-o", str(tmp_path / "s.html"), "--small"]) == 0
    content, style = (run.folder / f"inputs/{name}.png" for name in ("content", "style_1"))
    pair = ["--content", str(content), "--style", str(style)]
    for n, words in enumerate(([run.folder], [tmp_path / "r.html"], [tmp_path / "s.html", *pair])):
        out = ["--out", str(tmp_path / "runs" / f"again {n}")]
        assert main(["rerun", *map(str, words), *out]) == 0
        assert "the same picture, pixel for pixel" in capfd.readouterr().out
    line = refused("rerun", tmp_path / "s.html")
    assert "leaves out 'content.png'" in line and "with --content and --style" in line
    (tmp_path / "letter.html").write_text("<p>Dear friend")
    assert "letter.html" in refused("rerun", tmp_path / "letter.html")


def test_a_run_that_had_come_to_no_picture_is_made_again_and_said_so(run, tmp_path, capfd):
    run.result.unlink()
    assert main(["rerun", str(run.folder), "--out", str(tmp_path / "again")]) == 0
    assert "no picture to compare with" in capfd.readouterr().out
    assert Run(tmp_path / "again").result.exists()


def test_runs_are_listed_compared_marked_and_deleted_after_a_yes(run, tmp_path, capfd, refused):
    folder = run.folder
    assert main(["mark", str(folder)]) == 0 and run.favourite
    assert main(["note", str(folder), "eyes", "too <b>dark"]) == 0
    assert run.notes == "eyes too <b>dark" and "eyes too &lt;b&gt;dark" in report(run)
    assert main(["note", str(folder)]) == 0 and capfd.readouterr().out.endswith("<b>dark\n")
    assert main(["runs", str(folder.parent), "--where", "status=done"]) == 0
    assert "one" in capfd.readouterr().out
    for more in (("--sort", "style", "--reverse"), ("--tree",)):
        assert main(["runs", str(folder.parent), "--where", "status=don", *more]) == 0
        assert capfd.readouterr().out == "no run with that status; there are done\n"
    assert main(["compare", str(folder), str(folder), "-o", str(tmp_path / "both.png")]) == 0
    with Image.open(tmp_path / "both.png") as image:
        assert image.width > 2 * 400
    assert main(["film", str(folder), "-o", str(tmp_path / "film.gif")]) == 0
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames >= len(run.images)
    assert main(["film", str(folder), "-o", str(tmp_path / "film.txt")]) == 2
    assert "does not end in .gif" in capfd.readouterr().err
    asked = subprocess.run(
        [sys.executable, "-m", "nsutils.cli", "delete", str(folder)],
        input="n\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert asked.returncode == 2 and "add --yes" in asked.stderr and folder.exists()
    assert "it is empty" in refused("delete", "", "--yes") and folder.exists()
    assert main(["delete", str(folder), str(folder), "--yes"]) == 0 and not folder.exists()


def test_a_disk_that_takes_no_more_is_said(run, capsys):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        assert main(["note", str(run.folder), "words"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file, reason = run.folder / "notes.txt", os.strerror(errno.EFBIG)
    assert capsys.readouterr().err == f"nsutils: {file}: {reason}\n"


def test_a_recipe_protects_the_face_that_it_finds(style, tmp_path, refused, capfd):
    words = ["run", sample("astronaut"), style, "--recipe", "portrait", *SMALL]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert "a face was found" in capfd.readouterr().out
    run = Run(tmp_path / "run")
    again = command_line(run)
    assert "--recipe portrait" in again and "mask" not in again, "it will be found again"
    assert run.settings.laplacian_weight > 0 and run.settings.similarity_weight > 0
    mask = pictures.to_tensor(pictures.opened(run.settings.mask))[0, 0]
    height, width = mask.shape
    assert mask[int(0.23 * height), int(0.44 * width)] == 1 and mask[0, 0] == mask[-1, -1] == 0
    assert main([*words, "--mask", style, "--out", str(tmp_path / "own")]) == 0
    assert Run(tmp_path / "own").meta["inputs"]["mask"]["name"] == Path(style).name
    capfd.readouterr()
    assert "--preset: not allowed with argument --recipe" in refused(*words, "--preset", "gatys")


def test_a_preset_and_a_recipe_are_refused_in_a_forecast_too(content, style, refused):
    words = ["forecast", content, style, "--preset", "gatys", "--recipe", "film", *SMALL]
    assert "--recipe: not allowed with argument --preset" in refused(*words)


def test_styles_have_their_places(content, style, tmp_path, refused, capfd):
    words = ["run", content, style, content, *SMALL, "--style-where"]
    assert main([*words, f"{content},{style}", "--out", str(tmp_path / "run")]) == 0
    first, second = Run(tmp_path / "run").settings.styles
    assert Path(first.where).name == "where_1.png" and Path(second.where).name == "where_2.png"
    capfd.readouterr()
    assert "1 masks for 2 styles" in refused(*words, content)
    own = command_line(Run(tmp_path / "run"))
    assert (
        "--style-where=where_1.png,where_2.png" in own
        or f"--style-where={Path(content).name}" in own
    )
    words[-1] = f"--style-where=-,{style}"
    assert main([*words, "--mask", "none", "--out", str(tmp_path / "second")]) == 0
    first, second = Run(tmp_path / "second").settings.styles
    assert first.where is None and Path(second.where).name == "where_2.png"
    assert "--style-where=-," in command_line(Run(tmp_path / "second"))


def test_what_needs_steps_is_not_recorded_of_a_run_that_makes_none(run, refused, tmp_path):
    asked = ("--original-colors", "1", "--style-weight", "30")
    assert "has made all its" in refused("resume", run.folder, *asked)
    assert "has made all its" in refused("fork", run.folder, *asked, "--out", tmp_path / "fork")
    assert not run.steering and not (tmp_path / "fork").exists()


def test_a_fork_that_no_run_can_be_leaves_no_folder(run, refused, tmp_path):
    words = ("fork", run.folder, "--steps", "20", "--size", "33", "--side", "long")
    assert "too thin" in refused(*words, "--step", "2", "--out", tmp_path / "fork")
    assert not (tmp_path / "fork").exists()


def test_a_style_that_counts_nothing_may_be_the_first(content, style, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is known of speed
    words = ["--style-blend-weights", "0,1", *SMALL]
    assert main(["forecast", content, style, style, *words]) == 0


def test_nothing_is_written_over_a_picture(run, content, style, refused, tmp_path):
    (photo := tmp_path / "me.jpg").write_bytes(Path(content).read_bytes())
    assert "does not end in .html" in refused("report", run.folder, "-o", photo)
    assert "is what the picture is made from" in refused("run", photo, style, "--save", photo)
    words = (photo, style, "--vary", "size=64,72", "--save", photo)
    assert "is what the picture is made from" in refused("sweep", *words)
    words = (content, style, "--init", photo, "--save", photo)
    assert "is what the picture is made from" in refused("run", *words)
    assert photo.read_bytes() == Path(content).read_bytes()


def test_a_run_is_found_by_the_name_that_a_table_shows(
    content, style, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("nsutils.samples.RUNS", tmp_path / "data" / "runs")
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    Path(content).rename(long := tmp_path / f"{'holiday_in_the_mountains_' * 2}.png")
    made = Run.new(Settings(str(long), style))
    assert "…" in (name := shortened(made.folder.name))
    assert main(["note", name, "mine"]) == 0 and made.notes == "mine"


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0 and capsys.readouterr().out == f"nsutils {__version__}\n"
