"""XLSX, Rasa and Label Studio files: what is taken, skipped and refused."""

import io
import json
import zipfile
from collections.abc import Sequence
from datetime import date
from typing import Any

import openpyxl
import pytest
import yaml

from labeling.formats import (
    BadLine,
    Row,
    Unreadable,
    Unwritable,
    guess,
    label_studio,
    rasa,
    read,
    save,
    spreadsheets,
)

Rows = list[tuple[str, Sequence[str] | None]]


def parse(data: bytes, kind: str, **options: Any) -> list[Row | BadLine]:
    return list(read(io.BytesIO(data), kind=kind, **options))


def good(found: list[Row | BadLine]) -> list[tuple[int, str, tuple[str, ...] | None]]:
    return [tuple(row) for row in found if isinstance(row, Row)]


def bad(found: list[Row | BadLine]) -> dict[int, str]:
    return dict(row for row in found if isinstance(row, BadLine))


def saved(rows: Rows, kind: str, *, many: bool = True) -> bytes:
    file = io.BytesIO()
    save(rows, file, kind=kind, many=many)
    return file.getvalue()


def workbook(*rows: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


# --- The format of a file -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.jsonl", b'{"text": "a"}', "jsonl"),
        ("a.json", b'{"text": "a"}', "jsonl"),
        ("a.json", b' \n[{"id": 1}]', "label_studio"),
        ("a.json", b"\xef\xbb\xbf[]", "label_studio"),
        ("a.csv", b"text\na", "csv"),
        ("a.csv", workbook(["text"]), "xlsx"),
        ("a.YML", b"nlu:", "rasa"),
        ("data", b"# mine\nversion: '3.1'\nnlu:\n", "rasa"),
        ("data", b"id,text,label\n", "csv"),
        ("data.txt", b'{"text": "a"}', "jsonl"),
    ],
)
def test_the_format_is_in_the_content_or_the_name(
    name: str, data: bytes, kind: str
) -> None:
    file = io.BytesIO(data)
    assert guess(name, file) == kind
    assert file.tell() == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"hello\n", "xlsx"), (b"\xd0\xcf\x11\xe0\xa1", "save it as XLSX")],
)
def test_a_format_that_nothing_tells_is_asked_for(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        guess("data.bin", io.BytesIO(data))


# --- XLSX -----------------------------------------------------------------------------

NASTY = [
    "plain",
    "=1+1",
    "＋1",
    "-5 度",
    "'=quoted already",
    "'apostrophe",
    "two\nlines",
    "two\r\nlines",
    "_x000D_ as it is",
    "bell\x07",
    " padded ",
    "#N/A",
    "123",
    "TRUE",
    "emoji 🙂 𠮷 \ufffe",
]


def test_xlsx_reads_back_the_same_and_holds_no_formula() -> None:
    rows: Rows = []
    for n, text in enumerate(NASTY):
        codes = ["=cmd", "a|b", "c\\", "-"][: 1 + n % 4]
        rows += [(text, None), (text, codes), (text, [])]
    data = saved(rows, "xlsx")
    assert [row[1:] for row in good(parse(data, "xlsx"))] == [
        (text, None if codes is None else tuple(codes)) for text, codes in rows
    ]
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    cells = [cell for row in sheet.iter_rows() for cell in row]
    assert len(cells) == 2 + 2 * len(rows)
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr", "n", "e"}
    assert not [c for c in cells if str(c.value)[:1] in set("=+-@\t\r\n＝＋－＠")]


def test_xlsx_of_a_spreadsheet_program() -> None:
    data = workbook(
        [],
        ["ID", "Intent_Code", "User_Input", None, None],
        [1, "a|b", "打卡"],
        [],
        [2, None, 42],
        [3, "x", 1.5],
        [4, "x", date(2026, 1, 2)],
        [5, "x", None],
        [6, "x", "one", "too many"],
        [None, " ", None],
        [7, "x", True],
        [8, "x", "=A1"],
    )
    found = parse(data, "xlsx")
    assert good(found) == [
        (3, "打卡", ("a", "b")),
        (5, "42", None),
        (6, "1.5", ("x",)),
        (7, "2026-01-02 00:00:00", ("x",)),
        (8, "", ("x",)),
        (11, "TRUE", ("x",)),
        (12, "", ("x",)),
    ]
    assert list(bad(found)) == [9]


def test_xlsx_without_names_without_rows_and_no_xlsx() -> None:
    with pytest.raises(Unreadable, match="name the columns"):
        parse(workbook(["question", "answer"], ["a", "b"]), "xlsx")
    assert parse(workbook(), "xlsx") == []
    whole = workbook(["text"], ["a"])
    empty_zip = b"PK\x05\x06" + bytes(18)
    for broken in (b"", b"text\na", whole[: len(whole) // 2], empty_zip):
        with pytest.raises(Unreadable):
            parse(broken, "xlsx")


def repacked(data: bytes, name: str, content: bytes) -> bytes:
    """The same workbook with another content of one part."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.namelist():
            new.writestr(part, content if part == name else old.read(part))
    return file.getvalue()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = workbook(["text"], ["a"])
    sheet = "xl/worksheets/sheet1.xml"
    with pytest.raises(Unreadable, match="too much"):
        parse(repacked(data, sheet, b"<a>" + b" " * 20_000_000), "xlsx")
    with pytest.raises(Unreadable, match="too much"):
        parse(repacked(data, "xl/styles.xml", bytes(20_000_000)), "xlsx")
    monkeypatch.setattr(spreadsheets, "MAX_SHEET_BYTES", 100)
    with pytest.raises(Unreadable, match="too much"):
        parse(data, "xlsx")


def test_entities_of_xml_do_not_blow_a_sheet_up() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY l0 "{"ha" * 50}">{laughs}]>'
    bomb = (
        f"{head}<worksheet><sheetData><row r='1'><c r='A1' t='inlineStr'>"
        "<is><t>&l9;</t></is></c></row></sheetData></worksheet>"
    )
    data = repacked(
        workbook(["text"], ["a"]), "xl/worksheets/sheet1.xml", bomb.encode()
    )
    with pytest.raises(Unreadable):
        parse(data, "xlsx")


def test_a_sheet_that_is_full_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheets, "MAX_ROWS", 3)
    saved([("a", None), ("b", None)], "xlsx")
    with pytest.raises(Unwritable, match="2 rows"):
        saved([("a", None), ("b", None), ("c", None)], "xlsx")


# --- Rasa -----------------------------------------------------------------------------

NLU = """\
version: "3.1"

nlu:
- intent: check_balance
  examples: |
    - What's my [credit](account) balance?
    - on [card]{"entity": "a", "value": "c"} or [both][{"entity": "a"}, {"entity": "b"}]

    - [not closed (a) and [] stay
    no example
- intent: faq/ask_name
  examples:
  - text: |
      who are you
    metadata:
      sentiment: neutral
  - text: 你是谁
- synonym: credit
  examples: |
    - credit card
- intent: pay+greet
  examples: |
    - hi, pay
- regex: number
  examples: |
    - \\d+
rules:
- rule: say hi
"""


def test_rasa_examples_with_their_lines() -> None:
    found = parse(NLU.encode(), "rasa")
    assert good(found) == [
        (6, "What's my credit balance?", ("check_balance",)),
        (7, "on card or both", ("check_balance",)),
        (9, "[not closed (a) and [] stay", ("check_balance",)),
        (13, "who are you", ("faq/ask_name",)),
        (17, "你是谁", ("faq/ask_name",)),
        (23, "hi, pay", ("pay+greet",)),
    ]
    assert list(bad(found)) == [10, 18, 24, 27]
    assert "synonym" in bad(found)[18]
    many = parse(NLU.encode(), "rasa", many=True)
    assert good(many)[-1] == (23, "hi, pay", ("pay", "greet"))


def test_rasa_in_gb18030_when_told() -> None:
    data = "nlu:\n- intent: a\n  examples: |\n    - 打卡𠮷\n".encode("gb18030")
    assert good(parse(data, "rasa", encoding="gb18030")) == [(4, "打卡𠮷", ("a",))]
    with pytest.raises(Unreadable, match="UTF-8"):
        parse(data, "rasa")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: &a [x]\nb: *a\nnlu: []\n", "aliases"),
        (b"nlu:\n- intent: &i a\n  examples: *i\n", "aliases"),
        (b"nlu: " + b"[" * 50_000, "nested|YAML"),
        (b"nlu:\n- x: " + b"{a: " * 50, "nested|YAML"),
        (b"nlu: [\n", "not YAML"),
        (b"- a\n", "no list"),
        (b"", "no list"),
        (b"stories: []\n", "no list"),
        (b"nlu: text\n", "no list"),
    ],
)
def test_rasa_files_that_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse(data, "rasa")


def test_rasa_builds_no_objects() -> None:
    data = b"nlu:\n- intent: !!python/object/apply:os.system [ls]\n  examples: x\n"
    assert good(parse(data, "rasa")) == []
    data = b"nlu:\n- intent: !!python/name:os.system a\n  examples: |\n    - b\n"
    assert good(parse(data, "rasa")) == [(4, "b", ("a",))]


def test_a_rasa_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasa, "MAX_BYTES", 100)
    with pytest.raises(Unreadable, match="split it"):
        parse(NLU.encode(), "rasa")


def test_rasa_reads_back_and_yaml_agrees() -> None:
    rows: Rows = [
        ("- dash", ["plain"]),
        ("a: b # c", ["plain"]),
        ("tab\tand\r\nline", ["plain"]),
        ("打卡 🙂", ["打卡/考勤"]),
        ("x", ['quote"s\\']),
        ("y", ["no"]),
        ("open", None),
        ("control \x07", ["plain"]),
    ]
    data = saved(rows, "rasa", many=False)
    assert [row[1:] for row in good(parse(data, "rasa"))] == [
        ("- dash", ("plain",)),
        ("a: b # c", ("plain",)),
        ("tab and line", ("plain",)),
        ("打卡 🙂", ("打卡/考勤",)),
        ("x", ('quote"s\\',)),
        ("y", ("no",)),
    ]
    plain = yaml.safe_load(data)
    assert [item["intent"] for item in plain["nlu"]] == [
        "plain",
        "打卡/考勤",
        'quote"s\\',
        "no",
    ]
    assert parse(saved([], "rasa"), "rasa") == []


# --- Label Studio ---------------------------------------------------------------------


def task(text: str, *annotations: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "data": {"text": text},
        "predictions": [{"result": [choice("predicted")]}],
        "annotations": list(annotations),
    }


def choice(*codes: str) -> dict[str, Any]:
    return {"type": "choices", "from_name": "intent", "value": {"choices": codes}}


def said(*codes: str, **more: Any) -> dict[str, Any]:
    return {"result": [choice(*codes)], **more}


def tasks(*values: Any) -> list[Row | BadLine]:
    return parse(json.dumps(values, ensure_ascii=False).encode(), "label_studio")


def test_label_studio_tasks() -> None:
    found = tasks(
        task("one", said("a")),
        task("several labels", said("b", "a")),
        task("majority", said("a"), said("b"), said("b")),
        task("ground truth", said("a"), said("a"), said("b", ground_truth=True)),
        task("tie", said("a"), said("b")),
        task("cancelled", said("a", was_cancelled=True)),
        task("nobody"),
        {"data": {"id": 5, "user_input": "打卡"}, "annotations": []},
        {"data": {"image": 5}},
        "no task",
        task("other type", {"result": [{"type": "rating", "value": {"rating": 3}}]}),
    )
    assert good(found) == [
        (1, "one", ("a",)),
        (2, "several labels", ("a", "b")),
        (3, "majority", ("b",)),
        (4, "ground truth", ("b",)),
        (5, "tie", None),
        (6, "cancelled", None),
        (7, "nobody", None),
        (8, "打卡", None),
        (11, "other type", None),
    ]
    assert list(bad(found)) == [9, 10]


def test_label_studio_json_min() -> None:
    found = tasks(
        {"id": 1, "text": "one", "intent": "a", "annotator": 1, "created_at": "x"},
        {"id": 2, "text": "two", "kind": {"choices": ["b", "a"]}, "annotator": 1},
        {"id": 3, "text": "none", "annotator": 1},
        {"id": 4, "text": "which", "label": "a", "kind": {"choices": ["b"]}},
    )
    assert good(found) == [
        (1, "one", ("a",)),
        (2, "two", ("a", "b")),
        (3, "none", None),
    ]
    assert "kind, label" in bad(found)[4]


def test_label_studio_files_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (
        b"",
        b'{"a": 1}',
        b"nonsense",
        b'[{"id": 1}, {',
        b'[{"text": "\xff"}]',
    ):
        with pytest.raises(Unreadable):
            parse(data, "label_studio")
    assert parse(b"\xef\xbb\xbf []", "label_studio") == []
    monkeypatch.setattr(label_studio, "MAX_TASK_BYTES", 100_000)
    small = json.dumps([task("x" * 1000)] * 300).encode()
    assert len(good(parse(small, "label_studio"))) == 300
    with pytest.raises(Unreadable, match="larger"):
        parse(json.dumps([task("x" * 300_000)]).encode(), "label_studio")
