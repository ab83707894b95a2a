"""JSONL and CSV: whatever a file holds, each line is a row or a bad line."""

import csv
import io
import json
import random
import tracemalloc
from collections.abc import Sequence

import pytest

from labeling.formats import BadLine, Row, Unreadable, kind_of, read, write

Rows = list[tuple[str, Sequence[str] | None]]


def parse(
    data: bytes | str, kind: str = "jsonl", encoding: str = "utf-8"
) -> list[Row | BadLine]:
    raw = data.encode(encoding) if isinstance(data, str) else data
    return list(read(io.BytesIO(raw), kind=kind, encoding=encoding))


def good(found: list[Row | BadLine]) -> list[tuple[int, str, tuple[str, ...] | None]]:
    return [tuple(row) for row in found if isinstance(row, Row)]


def bad(found: list[Row | BadLine]) -> dict[int, str]:
    return dict(row for row in found if isinstance(row, BadLine))


# --- JSONL ------------------------------------------------------------------------


def test_jsonl_with_a_label_with_labels_and_without() -> None:
    lines = [
        '{"text": "打卡", "label": "clock_in"}',
        "",
        '{"text": "b", "labels": ["x", "y"], "extra": 1}',
        '{"text": "c"}',
        '{"text": "d", "label": null}',
        '{"text": "e", "label": ""}',
        '{"text": "f", "labels": []}',
        '{"text": "g", "label": " padded "}',
    ]
    expected = [
        (1, "打卡", ("clock_in",)),
        (3, "b", ("x", "y")),
        (4, "c", None),
        (5, "d", None),
        (6, "e", None),
        (7, "f", ()),
        (8, "g", ("padded",)),
    ]
    for end in ("\n", "\r\n"):
        assert parse(end.join(lines)) == expected
        assert parse(end.join(lines) + end) == expected


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_text(mark: bytes) -> None:
    line = '{"text": "打卡"}'.encode()
    assert parse(mark + line) == [(1, "打卡", None)]
    assert parse(mark + "text\n打卡".encode(), "csv") == [(2, "打卡", None)]


def test_gb18030_when_told() -> None:
    assert parse('{"text": "打卡𠮷"}', encoding="gb18030") == [(1, "打卡𠮷", None)]
    marked = "\ufeffuser_input,intent_code\n打卡,x".encode("gb18030")
    assert parse(marked, "csv", "gb18030") == [(2, "打卡", ("x",))]


def test_gb18030_when_not_told_names_the_line_and_the_way_out() -> None:
    data = b'{"text": "ascii"}\n' + '{"text": "打卡"}\n'.encode("gb18030")
    found = parse(data)
    assert good(found) == [(1, "ascii", None)]
    assert list(bad(found)) == [2]
    assert "--encoding gb18030" in bad(found)[2]


def test_each_bad_jsonl_line_has_its_number_and_reason() -> None:
    found = parse(
        "\n".join(
            [
                "{",
                "[1]",
                '{"label": "x"}',
                '{"text": 5}',
                '{"text": "a", "label": 5}',
                '{"text": "a", "labels": "x"}',
                '{"text": "a", "labels": ["x", 1]}',
                '{"text": "a", "label": "x", "labels": ["x"]}',
                "[" * 100_000,
                '{"text": "a", "n": ' + "9" * 5000 + "}",
                '{"text": "good"}',
                "null",
            ]
        )
    )
    assert good(found) == [(11, "good", None)]
    assert list(bad(found)) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    assert bad(found)[1] == "not JSON"
    assert bad(found)[3] == "no text"
    assert "string" in bad(found)[5]
    assert all(bad(found).values())


def test_a_very_long_line_costs_itself_and_no_memory() -> None:
    class Endless(io.RawIOBase):
        """100 MB without a line end, then two lines."""

        left = 100_000_000
        tail = b'\n{"text": "after"}\n{"text": "'

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            size = min(len(buffer), self.left)
            if size:
                buffer[:size] = b"x" * size
                self.left -= size
                return size
            size = min(len(buffer), len(self.tail))
            buffer[:size] = self.tail[:size]
            self.tail = self.tail[size:]
            return size

    tracemalloc.start()
    found = list(read(io.BufferedReader(Endless()), kind="jsonl"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good(found) == [(2, "after", None)]
    assert "too long" in bad(found)[1]
    assert bad(found)[3] == "not JSON"
    assert peak < 5_000_000


# --- CSV --------------------------------------------------------------------------


def test_csv_by_either_pair_of_names_in_any_order() -> None:
    expected = [(2, "打卡", ("x",)), (3, "b", None)]
    assert parse("text,label\n打卡,x\nb,\n", "csv") == expected
    assert parse("user_input,intent_code\n打卡,x\nb\n", "csv") == expected
    assert parse("id,Label , TEXT\n1,x,打卡\n2,,b\n", "csv") == expected
    assert parse('"text","label"\r\n"打卡","x"\r\n"b",""\r\n', "csv") == expected


def test_several_labels_in_a_cell() -> None:
    found = parse("text,label\na,x|y\nb,|\nc, x | y |\nd,x\\|y|z\ne,a\\\\\n", "csv")
    assert [row[2] for row in good(found)] == [
        ("x", "y"),
        (),
        ("x", "y"),
        ("x|y", "z"),
        ("a\\",),
    ]


def test_csv_cells_of_several_lines_keep_the_numbers_right() -> None:
    found = parse('text,label\n"two\nlines",x\nnext,y\n,z\n', "csv")
    assert good(found) == [
        (2, "two\nlines", ("x",)),
        (4, "next", ("y",)),
        (5, "", ("z",)),
    ]


def test_a_quote_that_is_never_closed_costs_one_line() -> None:
    found = parse('text,label\na,x\n"b,x\nc,x\nd,"x"\ne,x\n', "csv")
    assert [row[1] for row in good(found)] == ["a", "c", "d", "e"]
    assert list(bad(found)) == [3]
    many = "text,label\n" + '"open,x\n' + "".join(f"q{n},x\n" for n in range(1000))
    found = parse(many, "csv")
    assert len(good(found)) == 1000
    assert list(bad(found)) == [2]


def test_bad_csv_lines() -> None:
    found = parse(
        b"text,label\n"
        b"a, comma unquoted,x\n"
        b"trailing,x,,\n" + b"y" * 100_000 + b",x\n" + b"z" * 200_000 + b",x\n"
        b"\xff\xfe,x\n"
        b'"good",x\n'
        b'"ba"d,x\n'
        b'"open\n'
        b"\xff\n"
        b"last,x\n",
        "csv",
    )
    assert [row[0] for row in good(found)] == [3, 4, 7, 11]
    assert list(bad(found)) == [2, 5, 6, 8, 9, 10]
    assert "3 cells" in bad(found)[2]
    assert "too long" in bad(found)[5]
    assert "utf-8" in bad(found)[6].lower()


@pytest.mark.parametrize(
    "data",
    [
        b"question,answer\na,b\n",
        b"\x00\x01\x02\xff\xfe",
        b"PK\x03\x04spreadsheet",
        "text,label\n打卡,x".encode("utf-16"),
    ],
)
def test_a_file_that_is_no_table_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(data, "csv")


def test_random_bytes_never_raise_anything_else() -> None:
    chance = random.Random(7)
    alphabet = b'"\\,|\n\r\x00{}[]:atex\xe6\x89\x93\xff\xd6='
    for _ in range(3000):
        noise = bytes(chance.choices(alphabet, k=chance.randrange(60)))
        for kind, head in (("jsonl", b""), ("csv", b"text,label\n"), ("csv", b"")):
            for encoding in ("utf-8", "gb18030"):
                try:
                    found = parse(head + noise, kind, encoding)
                except Unreadable:
                    continue
                numbers = [row.line for row in found]
                assert numbers == sorted(set(numbers))


def test_the_kind_of_a_file_is_in_its_name() -> None:
    assert kind_of("a.JSONL") == kind_of("b.ndjson") == "jsonl"
    assert kind_of("/x/c.csv") == "csv"
    with pytest.raises(Unreadable):
        kind_of("data.txt")


# --- Both ways --------------------------------------------------------------------

NASTY = [
    "plain",
    "=1+1",
    "+86 123",
    "-5 度",
    "@SUM(A1)",
    "\ttab",
    "\rreturn",
    "＝1",
    "＋1",
    "－1",
    "＠a",
    "'=quoted already",
    "''=twice",
    "'apostrophe",
    'say "hi", please',
    "two\nlines",
    "two\r\nlines",
    "back\\slash",
    "bar|bar",
    "a\u2028b\u0085c",
    "emoji 🙂 𠮷",
    "\ufeffmark",
]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_is_written_reads_back_the_same(kind: str) -> None:
    rows: Rows = []
    for n, text in enumerate(NASTY):
        codes = ["=cmd", "a|b", "c\\", "-", "d\\|e"][: 1 + n % 5]
        rows += [(text, None), (text, codes), (text, [])]
    data = "".join(write(rows, kind=kind, many=True)).encode()
    found = good(parse(data, kind))
    assert [(row[1], row[2]) for row in found] == [
        (text, None if codes is None else tuple(codes)) for text, codes in rows
    ]


def test_one_intent_is_a_label_and_several_are_labels() -> None:
    rows: Rows = [("a", ["x"]), ("b", None)]
    one = [json.loads(x) for x in write(rows, kind="jsonl", many=False)]
    assert one == [{"text": "a", "label": "x"}, {"text": "b"}]
    many = [json.loads(x) for x in write(rows, kind="jsonl", many=True)]
    assert many == [{"text": "a", "labels": ["x"]}, {"text": "b"}]
    assert "打" in next(write([("打", None)], kind="jsonl", many=False))


def test_no_cell_begins_as_a_formula() -> None:
    rows: Rows = [(text, [text]) for text in NASTY]
    written = "".join(write(rows, kind="csv", many=False))
    cells = [
        cell for row in csv.reader(io.StringIO(written, newline="")) for cell in row
    ]
    assert len(cells) == 2 + 2 * len(rows)
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n＝＋－＠")]
