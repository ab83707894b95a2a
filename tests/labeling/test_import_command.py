"""`import_questions`: files into a project, from the command line."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from labeling.models import Intent, Project, Question
from tests.makers import make_intent, make_labelled, make_project

pytestmark = pytest.mark.django_db


def run(project: str, file: Path, *options: str) -> str:
    out = io.StringIO()
    call_command("import_questions", project, str(file), *options, stdout=out)
    return out.getvalue()


def jsonl(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def gold(slug: str) -> dict[str, list[str] | None]:
    return dict(Question.objects.filter(project__slug=slug).order_by("id").rows())


def test_a_labelled_file_into_a_new_project(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path / "train.jsonl",
        {"text": "怎么打卡", "label": "clock_in"},
        {"text": "tell me a joke", "label": "oos"},
        {"text": "no label"},
    )
    said = run(
        "factory", file, "--create-project", "--create-intents", "--split", "train"
    )
    project = Project.objects.get(slug="factory")
    assert (project.name, project.is_multi_intent) == ("factory", False)
    assert gold("factory") == {
        "怎么打卡": ["clock_in"],
        "tell me a joke": ["oos"],
        "no label": None,
    }
    assert set(Question.objects.values_list("split", flat=True)) == {"train"}
    assert Intent.objects.get(is_fallback=True).code == "oos"
    assert "3 rows: 3 new questions, 0 already there; 2 newly labelled." in said
    assert "2 new intents: clock_in, oos" in said
    assert "“oos” is now the fallback intent." in said
    again = run("factory", file, "--create-project", "--create-intents")
    assert "3 rows: 0 new questions, 3 already there; 0 newly labelled." in again


def test_several_intents_into_a_new_project(tmp_path: Path) -> None:
    file = tmp_path / "multi.csv"
    file.write_text("text,label\nboth,a|b\nneither,|\n")
    run("multi", file, "--create-project", "--multi", "--create-intents")
    assert Project.objects.get().is_multi_intent
    assert gold("multi") == {"both": ["a", "b"], "neither": []}
    make_project(slug="single")
    with pytest.raises(CommandError, match="one intent"):
        run("single", file, "--multi")


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("text,label\n打卡,a\n请假,b\n".encode(), []),
        ("text,label\r\n打卡,a\r\n请假,b\r\n".encode("utf-8-sig"), []),
        (
            "user_input,intent_code\n打卡,a\n请假,b\n".encode("gb18030"),
            ["--encoding", "gb18030"],
        ),
    ],
)
def test_csv_in_its_encodings(tmp_path: Path, data: bytes, options: list[str]) -> None:
    file = tmp_path / "q.csv"
    file.write_bytes(data)
    run("p", file, "--create-project", "--create-intents", "--labelled", *options)
    assert gold("p") == {"打卡": ["a"], "请假": ["b"]}


def test_bad_lines_are_shown_with_number_and_reason_and_nothing_else_is_lost(
    tmp_path: Path,
) -> None:
    project = make_project()
    intent = make_intent(project, "a")
    make_labelled(project, make_intent(project, "b"), "taken")
    file = tmp_path / "mixed.jsonl"
    lines = [
        b'{"text": "one", "label": "a"}',
        b"not json",
        b'{"text": "  ", "label": "a"}',
        b'{"text": "' + b"x" * 100_000 + b'", "label": "a"}',
        b'{"text": "nul \\u0000", "label": "a"}',
        b'{"text": "who", "label": "nobody"}',
        b'{"text": "n", "label": 7}',
        b'{"text": "two", "labels": ["a", "b"]}',
        '{"text": "打卡", "label": "a"}'.encode("gb18030"),
        b'{"text": "no label"}',
        b'{"text": "taken", "label": "a"}',
        b'{"text": "last", "label": "a"}',
    ]
    file.write_bytes(b"\n".join(lines))
    said = run(project.slug, file, "--labelled")
    assert gold(project.slug) == {"taken": ["b"], "one": ["a"], "last": ["a"]}
    assert "3 rows: 2 new questions, 1 already there; 2 newly labelled." in said
    assert "9 bad lines were skipped:" in said
    assert "  line 2: not JSON" in said
    for number in (3, 4, 5, 6, 7, 8, 9, 10):
        assert f"  line {number}: " in said
    assert "--encoding gb18030" in said
    assert "line 11: “a”, but the question has “b”" in said
    assert intent.gold_labels.count() == 2


def test_only_the_first_twenty_bad_lines_are_shown(tmp_path: Path) -> None:
    project = make_project()
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "good"}\n' + "bad\n" * 50)
    said = run(project.slug, file)
    assert "50 bad lines were skipped:" in said
    assert "line 21:" in said
    assert "line 22:" not in said
    assert "… and 30 more" in said


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("empty.jsonl", b"", "holds no questions"),
        ("blank.csv", b"\n\n", "holds no questions"),
        ("header.csv", b"text,label\n", "holds no questions"),
        ("columns.csv", b"a,b\n1,2\n", "text,label or user_input,intent_code"),
        ("binary.jsonl", bytes(range(256)) * 100, "nothing could be read"),
        ("binary.csv", bytes(range(256)) * 100, "name the columns"),
        ("gbk.csv", "文本,标签\n打卡,a\n".encode("gbk"), "--encoding gb18030"),
        ("gbk.jsonl", '{"text": "打卡"}\n'.encode("gbk") * 3, "--encoding gb18030"),
        ("wide.jsonl", '{"text": "打卡"}\n'.encode("utf-16"), "UTF-16"),
        ("sheet.csv", b"PK\x03\x04\x14\x00", "spreadsheet"),
        ("long.jsonl", b"x" * 1_000_000, "too long"),
        ("data.txt", b"hello\n", "format"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_fails_with_one_line(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    project = make_project()
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(CommandError, match=expected) as failed:
        run(project.slug, file)
    assert "\n" not in str(failed.value)
    assert failed.value.returncode == 1
    assert not Question.objects.exists()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "q.jsonl", {"text": "q"})
    with pytest.raises(CommandError, match=r"nowhere.*--create-project"):
        run("nowhere", file)
    project = make_project()
    with pytest.raises(CommandError, match="No such file"):
        run(project.slug, tmp_path / "missing.jsonl")
    with pytest.raises(CommandError, match="directory"):
        run(project.slug, tmp_path, "--format", "csv")
    with pytest.raises(CommandError, match="slug"):
        run("no slug!", file, "--create-project")
    assert Project.objects.count() == 1


def test_the_format_can_be_said(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "questions.txt", {"text": "q"})
    project = make_project()
    run(project.slug, file, "--format", "jsonl")
    assert gold(project.slug) == {"q": None}
