"""What is read from kept evaluations: cells and their questions, pairs, figures."""

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import translation

from labeling.admin import cells
from labeling.models import Project
from registry import versions
from registry.models import Evaluation, Version
from tests.makers import make_person, make_project
from tests.registry.makers import make_version, write_classifier
from tests.training.evaluations import Row, make_evaluation
from training.reports import answers, figures, matrix, side_by_side
from training.statistics import metrics

pytestmark = pytest.mark.django_db

FIVE = ["bill", "card", "loan", "rate", "stock"]


def multi_rows(n: int, seed: int) -> list[Row]:
    """Questions of 0 to 2 intents, answered with 0 to 2, often the same."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for number in range(n):
        wanted = chance.sample(FIVE, chance.randint(0, 2))
        given = chance.sample(FIVE, chance.randint(0, 2))
        given = wanted if chance.random() < 0.4 else given
        rows.append((f"question {number}", wanted, given, chance.random()))
    return rows


def test_each_cell_of_a_multi_intent_matrix_has_its_questions() -> None:
    project = make_project(is_multi_intent=True)
    one = make_evaluation(make_version(project, FIVE), multi_rows(400, 1))
    drawn = matrix.matrix(one.metrics)
    assert drawn is not None
    assert drawn.codes[-1] == ""  # something was missed and nothing given instead
    cells = [cell for row in drawn.rows for cell in row.cells if cell.n]
    assert len(cells) > 30
    nothing = 0
    for cell in cells:
        wanted = answers.Wanted.read(QueryDict(cell.query.removeprefix("?")))
        assert len(walk(one, wanted)) == cell.n, cell
        nothing += "" in (cell.right, cell.answered)
    assert nothing > 8


def walk(evaluation: Evaluation, wanted: answers.Wanted) -> list[int]:
    """The rows of all pages."""
    rows: list[int] = []
    while True:
        found, more = answers.page(evaluation, wanted)
        rows += [answer.row for answer in found]
        if more is None:
            return rows
        wanted = answers.Wanted.read(QueryDict(more.removeprefix("?")))


@pytest.mark.parametrize("order", [answers.SUREST, answers.UNSUREST])
def test_equal_confidences_are_paged_without_gap_or_repetition(order: str) -> None:
    rows: list[Row] = [(f"q{n}", ["bill"], ["bill"], 0.1 + 0.2) for n in range(170)]
    one = make_evaluation(make_version(make_project(), FIVE), rows)
    assert walk(one, answers.Wanted(order=order)) == list(range(170))


def test_side_by_side_agrees_with_the_answers_counted_one_by_one() -> None:
    project = make_project(is_multi_intent=True)
    new = multi_rows(300, 2)
    chance = random.Random(3)
    old = [
        (text, wanted, chance.sample(FIVE, chance.randint(0, 2)), 0.5)
        for text, wanted, _given, _confidence in new
    ]
    version = make_version(project, FIVE[:3])
    before = make_evaluation(version, old, kind="file")
    after = make_evaluation(version, new, kind="file")
    found = side_by_side.compare(before, after)
    assert found is not None
    truth, was, now = (
        np.array([[code in part for code in FIVE] for part in parts], bool)
        for parts in (
            [row[1] for row in new],
            [row[2] for row in old],
            [row[2] for row in new],
        )
    )
    was_right, is_right = ((truth == side).all(axis=1) for side in (was, now))
    assert found.fixed == int((is_right & ~was_right).sum())
    assert found.broken == int((was_right & ~is_right).sum())
    assert found.p == metrics.mcnemar_p(was_right, is_right)
    assert found.accuracy.before == pytest.approx(was_right.mean())
    assert found.macro_f1.after == pytest.approx(metrics.macro_f1(truth, now))
    assert found.macro_f1.low is not None
    assert found.macro_f1.high is not None
    assert found.macro_f1.low < found.macro_f1.difference < found.macro_f1.high
    # The first version knew three of the five intents.
    known = truth.any(axis=1) & ~truth[:, 3:].any(axis=1)
    assert (found.old_intents, found.old_n) == (3, int(known.sum()))
    assert found.forgetting is not None
    assert found.forgetting.after == pytest.approx(is_right[known].mean())
    recalls = [
        now[truth[:, c], c].mean() - was[truth[:, c], c].mean() for c in range(3)
    ]
    assert found.backward_transfer == pytest.approx(np.mean(recalls))
    lists = [
        side_by_side.changed(before, after, which=which)[0]
        for which in (side_by_side.BROKEN, side_by_side.FIXED)
    ]
    assert all(one.before == one.wanted != one.after for one in lists[0])
    assert all(one.before != one.wanted == one.after for one in lists[1])


def test_out_of_scope_is_compared_where_there_is_any() -> None:
    project = make_project()
    version = make_version(project, [*FIVE, "none"])
    project.intents.filter(code="none").update(is_fallback=True)
    old: list[Row] = [(f"q{n}", ["none"], ["bill"], 0.5) for n in range(4)]
    new: list[Row] = [(f"q{n}", ["none"], ["none"], 0.5) for n in range(4)]
    pair = [make_evaluation(version, rows, kind="file") for rows in (old, new)]
    found = side_by_side.compare(*pair)
    assert found is not None
    assert found.out_of_scope is not None
    assert (found.out_of_scope.before, found.out_of_scope.after) == (0.0, 1.0)


def test_figures_are_written_as_people_write_them() -> None:
    assert [cells.percent(x, digits=1) for x in (2 / 3, 1.0, None)] == [
        "66.7 %",
        "100.0 %",
        "–",
    ]
    assert [figures.points(x) for x in (0.0123, -0.0006, 0.0, None)] == [
        *("+1.2", "−0.1", "±0.0", "–")
    ]
    assert [figures.p_value(p) for p in (0.0312, 0.0004)] == ["= 0.031", "< 0.001"]
    with translation.override("de"):
        assert figures.points(0.0123) == "+1,2"


def make_exportable(project: Project, folder: Path) -> Version:
    """A version that has weights, of a kind."""
    folder.mkdir()
    write_classifier(folder, FIVE, words={}, strength=6.0, multi=False)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 9000)
    (folder / "config.json").write_text("{}", "utf-8")
    return versions.register(
        project, folder=folder, label_set=FIVE, parent=None, provenance={}
    )


def test_a_version_is_downloaded_as_one_zip(tmp_path: Path) -> None:
    project = make_project(slug="bank")
    version = make_exportable(project, tmp_path / "made")
    client = Client()
    client.force_login(make_person("mia", project))
    response: Any = client.get(f"/train/versions/{version.pk}/export/")
    assert response["Content-Disposition"] == 'attachment; filename="bank-v1.zip"'
    chunks = list(response.streaming_content)
    response.close()
    assert max(map(len, chunks)) < 2_000_000
    with zipfile.ZipFile(io.BytesIO(b"".join(chunks))) as archive:
        assert archive.testzip() is None
        assert {"bank-v1/README.md", "bank-v1/reading.json"} <= set(archive.namelist())
        assert archive.read("bank-v1/model.safetensors") == bytes(range(256)) * 9000


def test_what_has_no_weights_says_so_and_only_managers_get_any(tmp_path: Path) -> None:
    project = make_project()
    version = make_version(project, FIVE)
    path = f"/train/versions/{version.pk}/export/"
    for name, status in (("ann", 403), ("rex", 403), ("out", 404)):
        client = Client()
        client.force_login(make_person(name, project if name != "out" else None))
        assert client.get(path).status_code == status
    client.force_login(make_person("mia", project))
    assert "no weights" in client.get(path, follow=True).content.decode()
