import io

import pytest
from PIL import Image

from nsutils.curves import loss_curves, totals


@pytest.fixture
def run(steered_run):
    return steered_run


def test_loss_curves_are_the_rows_of_metrics(run):
    (axes,) = loss_curves(run).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["style"].get_ydata()) == [row["style"] for row in run.metrics]
    assert axes.get_yscale() == "log"
    assert Image.open(io.BytesIO(loss_curves(run)._repr_png_())).width > 300


def test_a_run_of_one_step_has_dots_for_its_losses(run):
    run.rewind(1)
    for figure in (loss_curves(run), totals({"one": run})):
        (axes,) = figure.axes
        assert {line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1} == {"o"}


def test_a_change_is_named_where_it_was_made(run):
    (axes,) = loss_curves(run).axes
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [("style_weight 4", 6)]


def test_names_of_many_changes_keep_clear_of_each_other_and_of_the_curves(run):
    for step in (6, 6, 7, 7, 8, 9, 9, 10, 11, 11):
        run.steered(step, {"style_weight": step / 3, "content_weight": 0.5, "tv_weight": 0.1})
    figure = loss_curves(run)
    figure.savefig(io.BytesIO())
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts][-1] == "…" and len(boxes) == 9
    for place, box in enumerate(boxes):
        assert box.y0 > axes.bbox.y1 and box.y1 < figure.bbox.y1
        assert box.x0 > figure.bbox.x0 and box.x1 < figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_totals_are_named_as_the_runs_are_whatever_that_means_elsewhere(run):
    figure = totals({"_one": run, "$\\two$": run})
    assert figure.png()
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["_one", "$\\two$"]
    assert [line.get_ydata()[0] for line in axes.lines] == [1, 1]
