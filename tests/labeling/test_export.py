"""`export_questions`: what comes out goes in again, the same."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from labeling.formats import Row
from labeling.intake import import_rows
from labeling.models import Project, Question
from tests.makers import make_intent, make_labelled, make_project, make_question

pytestmark = pytest.mark.django_db


def export(project: Project, file: Path, *options: str) -> str:
    out = io.StringIO()
    call_command("export_questions", project.slug, str(file), *options, stdout=out)
    return out.getvalue()


def fill(project: Project) -> None:
    """Questions whose texts and codes are hard on files."""
    texts = [
        "=1+1",
        "'=1",
        "＝SUM(A1)",
        "-5度",
        'say "hi", ok',
        "a\nb",
        "a|b\\c",
        "打卡𠮷",
    ]
    codes = ["plain", "=cmd|' /C calc'!A0", "a|b", "@x", "c\\", "打卡"]
    rows = []
    for n, text in enumerate(texts * 3):
        labels = [None, (codes[n % 6],), (codes[n % 6], codes[(n + 1) % 6]), ()][n % 4]
        if labels is not None and not project.is_multi_intent:
            labels = labels[:1] or None
        rows.append(Row(n, f"{text} {n}", labels))
    report = import_rows(project, rows, create_intents=True)
    assert report.created == len(rows)


def content(project: Project) -> list[Any]:
    rows = Question.objects.of(project).order_by("id")
    details = rows.values_list("text_hash", "state", "split")
    return list(zip(rows.rows(), details, strict=True))


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("name", ["q.jsonl", "q.csv"])
def test_export_into_another_project_gives_the_same(
    tmp_path: Path, name: str, multi: bool
) -> None:
    project = make_project(is_multi_intent=multi)
    other = make_project(is_multi_intent=multi)
    fill(project)
    said = export(project, tmp_path / name)
    assert said.startswith("24 questions")
    call_command(
        "import_questions",
        other.slug,
        str(tmp_path / name),
        "--create-intents",
        stdout=io.StringIO(),
    )
    assert content(other) == content(project)
    export(other, tmp_path / f"again-{name}")
    assert (tmp_path / f"again-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_no_exported_cell_is_a_formula(tmp_path: Path) -> None:
    project = make_project(is_multi_intent=True)
    fill(project)
    export(project, tmp_path / "q.csv", "--bom")
    with (tmp_path / "q.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["text", "label"]
    assert len(rows) == 25
    assert not [
        cell for row in rows for cell in row if cell[:1] in set("=+-@＝＋－＠\t\r")
    ]
    assert (tmp_path / "q.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_one_state_or_one_split(tmp_path: Path) -> None:
    project = make_project()
    intent = make_intent(project, "a")
    make_labelled(project, intent, "train", split="train")
    make_labelled(project, intent, "test", split="test")
    make_question(project, "open", split="test")
    make_question(project, "disputed", split="train", state="disputed")
    make_question(make_project(), "somebody else's")

    def texts(*options: str) -> list[str]:
        export(project, tmp_path / "q.jsonl", *options)
        lines = (tmp_path / "q.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in lines]

    assert texts() == ["train", "test", "open", "disputed"]
    assert texts("--state", "labelled") == ["train", "test"]
    assert texts("--split", "test") == ["test", "open"]
    assert texts("--state", "labelled", "--split", "test") == ["test"]
    assert texts("--state", "skipped") == []


def test_rows_look_as_the_import_wants_them(tmp_path: Path) -> None:
    project = make_project()
    make_labelled(project, make_intent(project, "打卡"), "怎么打卡")
    make_question(project, "open")
    export(project, tmp_path / "q.jsonl")
    assert (tmp_path / "q.jsonl").read_text(encoding="utf-8") == (
        '{"text": "怎么打卡", "label": "打卡"}\n{"text": "open"}\n'
    )


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    project = make_project()
    with pytest.raises(CommandError, match="nowhere"):
        call_command("export_questions", "nowhere", str(tmp_path / "q.csv"))
    with pytest.raises(CommandError, match="format"):
        export(project, tmp_path / "q.txt")
    with pytest.raises(CommandError, match="No such file"):
        export(project, tmp_path / "missing" / "q.csv")
    assert list(tmp_path.iterdir()) == []


def test_reading_is_one_query_and_streams(django_assert_num_queries: Any) -> None:
    project = make_project()
    fill(project)
    with django_assert_num_queries(1):
        assert len(list(Question.objects.of(project).rows())) == 24
