import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from nsutils import Player, Run, Settings, encoders, sweep, vary
from nsutils.run import PLAYED
from nsutils.sweeps import SHARED, Unfinished, cores, play, prepared
from nsutils.targets import Known

quietly = {"threads": 1, "progress": False}


@pytest.fixture
def small(content, style):
    """Four steps on two scales of 52 and 64 pixels."""
    how = {"precision": "float32", "content_layers": ("relu2_2",), "every": 1}
    how |= {"style_layers": ("pixels", "relu1_1", "relu2_1"), "octaves": 1}
    return Settings(content, style, size=64, smallest=52, steps=4, scale_steps=(2,), **how)


@pytest.fixture
def three(small):
    return vary(small, style_weight=[0.3, 1.0, 3.0])


@pytest.fixture
def pool():
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def cluster():
    """Dask's client of two workers, each a process of its own."""
    from distributed import Client, LocalCluster

    quiet = {"dashboard_address": None, "silence_logs": 50}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as local,
        Client(local) as client,
    ):
        yield client


def losses(run):
    return [{name: row[name] for name in row if name != "seconds"} for row in run.metrics]


def alone(settings, folder):
    """The losses of a run outside any sweep, on one thread."""
    run = Run.create(folder, settings, threads=1)
    list(Player(run, encoders.of(settings)))
    return losses(run)


def weights(runs):
    return sorted(run.settings.style_weight for run in runs)


def traces(folder):
    """When each run's pictures were written."""
    return {file: file.stat().st_mtime_ns for file in Path(folder).glob("*/*.*")}


@pytest.fixture(autouse=True)
def threads():
    """Whatever a test sets, the next one has as many as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_sweep_yields_each_run_as_it_would_be_by_itself(three, tmp_path):
    runs = list(sweep([*three, three[1]], tmp_path / "runs", **quietly))
    assert [run.settings.style_weight for run in runs] == [0.3, 1.0, 3.0]
    for run, settings in zip(runs, three, strict=True):
        assert run.status == "done" and run.folder.parent == tmp_path / "runs"
        assert f"style_weight_{settings.style_weight:g}-" in run.folder.name
        assert losses(run) == alone(settings, tmp_path / run.folder.name)
    assert not PLAYED and not (tmp_path / "runs" / ".sweep").exists()


def test_a_sweep_started_again_makes_only_what_is_not_there(three, tmp_path, monkeypatch):
    list(sweep(three[:2], tmp_path / "runs", **quietly))
    before = traces(tmp_path / "runs")
    Path(three[0].content).rename(tmp_path / "moved.png")
    monkeypatch.chdir(tmp_path)  # and the folder named by another path
    moved = [replace(each, content="moved.png", octaves=1) for each in three]
    runs = list(sweep(moved, "runs", **quietly))
    assert weights(runs) == [0.3, 1.0, 3.0]
    after = traces(tmp_path / "runs")
    assert before.items() <= after.items() and len(after) == 3 * len(before) / 2


def test_a_pool_of_processes_makes_the_same_pictures(three, tmp_path, pool):
    runs = list(sweep(three, tmp_path / "runs", pool, progress=False))
    assert weights(runs) == [0.3, 1.0, 3.0]
    assert {run.meta["threads"] for run in runs} == {max(1, cores() // 2)}
    assert os.getpid() not in {run.meta["pid"] for run in runs}
    one = list(sweep(three, tmp_path / "alone", threads=max(1, cores() // 2), progress=False))
    assert {str(losses(run)) for run in runs} == {str(losses(run)) for run in one}


def killed(folder, settings, executor):
    """The sweep as a future, a worker killed as soon as it has made some steps of a run; and that run's folder."""
    with ThreadPoolExecutor(1) as aside:
        work = aside.submit(lambda: list(sweep(settings, folder, executor, **quietly)))
        begun = ()
        while not begun and not wait([work], 0.02).done:
            runs = [Run(file.parent) for file in Path(folder).glob("*/settings.json")]
            begun = [run for run in runs if 7 < len(run.metrics) < 30]
        os.kill(begun[0].meta["pid"], signal.SIGKILL)
        wait([work])
    return work, begun[0]


def test_a_worker_of_a_cluster_is_killed_and_its_run_gone_on_with(three, tmp_path, cluster):
    longer = [replace(each, steps=40, scale_steps=(5,), every=40) for each in three]
    work, victim = killed(tmp_path / "runs", longer, cluster)
    runs = work.result()
    assert weights(runs) == [0.3, 1.0, 3.0]
    assert {str(losses(run)) for run in runs} == {
        str(alone(each, tmp_path / f"alone {n}")) for n, each in enumerate(longer)
    }
    assert victim.status == "done"
    before = traces(tmp_path / "runs")
    assert weights(sweep(longer, tmp_path / "runs", cluster, **quietly)) == [0.3, 1.0, 3.0]
    assert traces(tmp_path / "runs") == before


def test_a_pool_whose_worker_is_killed_says_so_and_the_sweep_goes_on_in_a_new_one(
    three, tmp_path, pool
):
    longer = [replace(each, steps=40, scale_steps=(5,), every=40) for each in three]
    work, victim = killed(tmp_path / "runs", longer, pool)
    with pytest.raises(Unfinished, match=r"run the sweep again: it goes on .* in a new pool"):
        work.result()
    assert victim.status == "interrupted" and victim.last.number >= 6
    with ProcessPoolExecutor(1, get_context("spawn")) as new:
        runs = list(sweep(longer, tmp_path / "runs", new, **quietly))
    assert weights(runs) == [0.3, 1.0, 3.0]
    of_victim = next(each for each in longer if each.style_weight == victim.settings.style_weight)
    assert losses(victim) == alone(of_victim, tmp_path / "alone")


def test_a_sweep_that_takes_the_folder_over_waits_for_the_run_in_hand_and_makes_all(
    three, tmp_path
):
    longer = [replace(each, steps=60, scale_steps=(5,), every=60) for each in three[:2]]
    with ThreadPoolExecutor(1) as aside:
        first = aside.submit(lambda: list(sweep(longer, tmp_path / "runs", **quietly)))
        while not [*(tmp_path / "runs").glob("*/metrics.csv")]:
            assert not wait([first], 0.02).done
        assert weights(sweep(longer, tmp_path / "runs", **quietly)) == [0.3, 1.0]
        with pytest.raises(Unfinished, match="another sweep has taken the folder over"):
            first.result()


def test_what_another_machines_dead_worker_began_is_taken_over_by_the_same_sweep_alone(
    three, tmp_path, monkeypatch
):
    """The executor calls a job again only when it has given up who had it."""
    monkeypatch.setattr("nsutils.sweeps.PATIENCE", 0.1)
    (run,) = prepared(three[:1], tmp_path / "runs")
    run.note(status="playing", host="elsewhere", sweep="ours")
    sign = tmp_path / "runs" / ".sweep"
    sign.write_text("another")
    with pytest.raises(ValueError, match=r"is being played by process .* on elsewhere"):
        play(str(run.folder), str(sign), "another", 1, 1, None)
    run.note(status="playing", host="elsewhere", sweep="ours")
    sign.write_text("ours")
    assert play(str(run.folder), str(sign), "ours", 1, 1, None) == "done"


def test_a_run_that_fails_does_not_take_the_others_with_it(three, tmp_path):
    bad = replace(three[1], encoder="vgg19", weights=str(tmp_path / "nowhere.pth"))
    runs = []
    with pytest.raises(Unfinished, match=r"1 of 3 runs are not done .*nowhere\.pth") as told:
        for run in sweep([three[0], bad, three[2]], tmp_path / "runs", **quietly):
            runs.append(run)
    assert weights(runs) == [0.3, 3.0]
    ((name, reason),) = told.value.reasons.items()
    failed = Run(tmp_path / "runs" / name)
    assert failed.status == "failed" and failed.meta["error"] == reason


@pytest.mark.parametrize("where", ["here", "pool"])
def test_closing_it_stops_what_is_played_and_withdraws_the_rest(three, tmp_path, request, where):
    executor = request.getfixturevalue("pool") if where == "pool" else None
    first = three[0]
    endless = [replace(each, steps=100_000) for each in vary(first, seed=[1, 2, 3])]
    with closing(sweep([first, *endless], tmp_path / "runs", executor, **quietly)) as runs:
        done = next(runs)
    states = [run.status for run in prepared(endless, tmp_path / "runs")]
    assert done.status == "done" and set(states) <= {"ready", "stopped"} and "ready" in states
    assert weights(sweep([first], tmp_path / "runs", executor, **quietly)) == [0.3]


def looks(encoder):
    """A list that grows with each picture that the encoder sees."""
    seen, along = [], encoder.along
    encoder.along = lambda *asked: seen.append(1) or along(*asked)
    return seen


def test_runs_that_share_an_encoder_compute_a_styles_statistics_once(three, tmp_path):
    """Each scale sees the content once and the style, and each step the image."""
    encoder = encoders.of(three[0])
    seen = looks(encoder)
    counts, found = [], []
    # The first also finds out what a step costs here; the last has to look at the style again.
    for n, each in enumerate([three[0], three[1], three[1]]):
        if n == 2:
            encoder.statistics.memory.clear()
        run = Run.create(tmp_path / str(n), each, threads=1, forecast={}, whole=None)
        seen.clear()
        list(Player(run, encoder))
        counts.append(len(seen))
        found.append(losses(run))
    assert counts[1:] == [2 + 4, 2 + 2 + 4]
    assert found[1] == found[2] == alone(three[1], tmp_path / "alone")


def test_what_a_process_finds_of_a_style_another_need_not(three, tmp_path, pool):
    """After the first, at each scale the content is seen, and at each step the image, but not the style."""
    counts, found = [], []
    for each in three[:2]:
        encoder = encoders.of(each)
        encoder.statistics = Known(tmp_path / "known", "this machine")
        seen = looks(encoder)
        run = Run.create(tmp_path / str(len(counts)), each, threads=1, forecast={}, whole=None)
        list(Player(run, encoder))
        counts.append(len(seen))
        found.append(losses(run))
    assert counts[1] == 2 + 4
    assert found[1] == alone(three[1], tmp_path / "alone")
    with closing(sweep(three, tmp_path / "runs", pool, **quietly)) as runs:
        next(runs)
        assert len([*(tmp_path / "runs" / SHARED).iterdir()]) == 2 * len(three[0].style_layers)
    assert not (tmp_path / "runs" / SHARED).exists()


class Plain:
    """The least that an executor is."""

    def submit(self, call, *words):
        class Done:
            def done(self):
                return True

            def result(self):
                return call(*words)

        return Done()


def test_an_executor_needs_no_more_than_submit_done_and_result(three, tmp_path):
    assert weights(sweep(three, tmp_path / "runs", Plain(), **quietly)) == [0.3, 1.0, 3.0]


def test_the_bar_counts_runs_and_steps_and_goes_on_where_it_stood(three, tmp_path, capsys):
    list(sweep(three[:2], tmp_path / "runs", threads=1))
    assert "2 of 2 runs, 8 of 8 steps" in capsys.readouterr().err
    list(sweep(three, tmp_path / "runs", threads=1))
    said = capsys.readouterr().err
    assert "2 of 3 runs, 8 of 12 steps" in said and "3 of 3 runs, 12 of 12 steps" in said


def test_nothing_to_sweep_and_unfit_pictures_are_refused_before_anything_is_played(three, tmp_path):
    with pytest.raises(ValueError, match="no settings to sweep"):
        next(sweep([], tmp_path / "runs"))
    with pytest.raises(ValueError, match=r"no picture 'nowhere\.png'"):
        next(sweep([replace(three[0], content="nowhere.png")], tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ValueError, match=r"no picture 'nowhere\.png'"):
        next(sweep([*three, replace(three[0], content="nowhere.png")], tmp_path / "runs"))
    assert not [*tmp_path.glob("runs/*")], "those before the one that is not fit are gone again"


def test_a_sweep_makes_anew_what_was_killed_while_it_was_being_made(three, tmp_path):
    first, *_ = prepared(three, tmp_path)
    (first.folder / "settings.json").unlink()
    assert prepared(three, tmp_path)[0].settings == first.settings


def test_a_sweep_takes_nothing_away_that_was_painted(three, tmp_path):
    first, *_ = prepared(three, tmp_path)
    first.notes = "mine"
    (first.folder / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"holds 'meta.json', which would be the run's"):
        prepared(three, tmp_path)
    assert (first.folder / "notes.txt").read_text() == "mine"


def test_a_sweep_into_a_file_is_refused(three, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="no runs can be made in"):
        prepared(three, tmp_path / "file")
