"""Rasa's NLU training data, `nlu.yml`: examples by intent.

Source: https://rasa.com/docs/rasa/training-data-format (format 3.1).
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import yaml
from django.utils.translation import gettext as _

from labeling.formats.rows import BadLine, Row, Unreadable

MAX_BYTES = 64 * 1024**2
"""Of a file. All examples of an intent are one YAML value, which is held in memory."""

JOIN = "+"
"""Between the labels of an example with several intents."""

_MAX_DEPTH = 20
_IGNORED = {"version", "metadata", "responses", "synonym", "regex", "lookup"}

# [text](entity), [text]{"entity": …} and [text][{…}, {…}] stand for their text.
_ENTITY = re.compile(r"\[([^\[\]]+)\](?:\([^()]*\)|\{[^{}]*\}|\[\s*\{[^\[\]]*\}\s*\])")
_PLAIN = re.compile(r"[^\W\d][\w/+.]*(?:-[\w/+.]+)*", re.ASCII)
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
# What YAML can't hold as it is, the line ends of other alphabets included.
_NO_YAML = re.compile(
    "[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class _Value(NamedTuple):
    """A scalar, with the line of its first character, and whether line ends count."""

    text: str
    line: int
    is_block: bool


class _Bounded:
    """Hands a file on up to `MAX_BYTES`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, MAX_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, 65536) if size >= 0 else 65536)
        self._left -= len(data)
        if self._left < 0:
            raise Unreadable(
                _("A Rasa file may hold %(mb)s MB; split it, or use JSONL.")
                % {"mb": MAX_BYTES // 1024**2}
            )
        return data


def read(
    file: IO[bytes], *, encoding: str = "utf-8", many: bool = False
) -> Iterator[Row | BadLine]:
    """Examples with their intents; entities become their text.

    The YAML is read as a stream of events, so no object is ever built of it: tags have
    no effect, and aliases, which can blow a small file up, are refused.

    Args:
        file: Opened for reading bytes.
        encoding: Of the file.
        many: Whether `a+b` are two intents; else it is one code, as in Rasa unless it
            is told otherwise.

    Yields:
        A row for each example; a bad line for what is skipped: synonyms, regular
        expressions and lookups once each, and lines that are no example.

    Raises:
        Unreadable: It is no YAML, has no list `nlu`, or is too large.
    """
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    stream = codecs.getreader(name)(_Bounded(file))  # type: ignore[arg-type]
    try:
        yield from _Reader(yaml.parse(stream, Loader=yaml.CSafeLoader), many).rows()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = mark.line + 1 if mark is not None else "?"
        problem = getattr(error, "problem", None) or error
        raise Unreadable(
            _("Line %(line)s: not YAML (%(problem)s).")
            % {"line": where, "problem": problem}
        ) from error
    except UnicodeDecodeError as error:
        raise Unreadable(
            _("The file is not %(encoding)s.") % {"encoding": encoding.upper()}
        ) from error


class _Reader:
    """Walks through the events of a file."""

    def __init__(self, events: Iterator[Any], many: bool) -> None:
        self._events = events
        self._many = many
        self._found = False

    def rows(self) -> Iterator[Row | BadLine]:
        for event in self._events:
            if isinstance(event, yaml.MappingStartEvent):
                yield from self._top()
            elif isinstance(event, yaml.SequenceStartEvent | yaml.ScalarEvent):
                raise Unreadable(_no_nlu())
        if not self._found:
            raise Unreadable(_no_nlu())

    def _top(self) -> Iterator[Row | BadLine]:
        while (key := self._key()) is not None:
            event = self._next()
            if key.text == "nlu" and isinstance(event, yaml.SequenceStartEvent):
                self._found = True
                yield from self._items()
                continue
            self._skip(event)
            if key.text not in _IGNORED:
                yield BadLine(
                    key.line, _("“%(key)s” is no training data") % {"key": _cut(key)}
                )

    def _items(self) -> Iterator[Row | BadLine]:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.MappingStartEvent):
                self._skip(event)
                yield BadLine(line, _("neither an intent nor anything known"))
                continue
            yield from self._item(line)

    def _item(self, line: int) -> Iterator[Row | BadLine]:
        """One entry of the list: an intent and its examples, or something else."""
        intent: str | None = None
        examples: list[_Value] = []
        other = ""
        while (key := self._key()) is not None:
            event = self._next()
            if key.text == "intent" and isinstance(event, yaml.ScalarEvent):
                intent = event.value.strip()
            elif key.text == "examples" and isinstance(event, yaml.ScalarEvent):
                examples.extend(_lines_of(_value(event)))
            elif key.text == "examples" and isinstance(event, yaml.SequenceStartEvent):
                examples.extend(self._long_examples())
            else:
                self._skip(event)
                other = other or _cut(key)
        if not intent:
            yield BadLine(
                line,
                _("“%(key)s” is no intent and is not taken over") % {"key": other},
            )
            return
        labels: tuple[str, ...] = (intent,)
        if self._many:
            labels = tuple(x for x in map(str.strip, intent.split(JOIN)) if x)
        for text, at, is_example in examples:
            if is_example:
                yield Row(at, _ENTITY.sub(r"\1", text).strip(), labels)
            else:
                yield BadLine(at, _("an example begins with “- ”"))

    def _long_examples(self) -> list[_Value]:
        """Examples as a list: `- text: …` or plain values."""
        found = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            if isinstance(event, yaml.ScalarEvent):
                found.append(_value(event)._replace(is_block=True))
            elif isinstance(event, yaml.MappingStartEvent):
                while (key := self._key()) is not None:
                    inner = self._next()
                    if key.text == "text" and isinstance(inner, yaml.ScalarEvent):
                        value = _value(inner)
                        text = value.text.strip().removeprefix("- ")
                        found.append(_Value(text, value.line, True))
                    else:
                        self._skip(inner)
            else:
                self._skip(event)
        return found

    def _key(self) -> _Value | None:
        """A mapping's next key; None at its end."""
        event = self._next()
        if isinstance(event, yaml.MappingEndEvent):
            return None
        if isinstance(event, yaml.ScalarEvent):
            return _value(event)
        self._skip(event)
        return _Value("", _line(event), False)

    def _skip(self, event: Any) -> None:
        """Passes over the value that the event begins."""
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _MAX_DEPTH:
                    raise Unreadable(_("The file is nested too deeply."))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = self._next()

    def _next(self) -> Any:
        event = next(self._events)
        if isinstance(event, yaml.AliasEvent):
            raise Unreadable(
                _("Line %(line)s: YAML aliases (*%(name)s) are not taken.")
                % {"line": _line(event), "name": str(event.anchor)[:50]}
            )
        return event


def _value(event: Any) -> _Value:
    return _Value(event.value, _line(event), event.style == "|")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _lines_of(value: _Value) -> Iterator[_Value]:
    """The examples of one block, each with its line; `is_block` says it is one."""
    for n, line in enumerate(value.text.split("\n"), start=1):
        text = line.strip()
        if text:
            at = value.line + n if value.is_block else value.line
            is_example = text.startswith("-")
            yield _Value(text[1:].strip() if is_example else text, at, is_example)


def _cut(key: _Value) -> str:
    return key.text[:50]


def _no_nlu() -> str:
    return _("The file is no Rasa training data: it has no list “nlu”.")


def write(
    rows: Iterable[tuple[str, Sequence[str] | None]], *, many: bool
) -> Iterator[str]:
    """An NLU file. Rows with the same labels must stand together.

    Rasa's format has no place for a question without a label: such rows are left out,
    as `can_hold` says. A line end within a text becomes a space.
    """
    yield 'version: "3.1"\n\nnlu:\n'
    before: Sequence[str] | None = None
    for text, labels in rows:
        if not can_hold(text, labels, many=many):
            continue
        assert labels is not None
        if before is None or list(labels) != list(before):
            if before is not None:
                yield "\n"
            yield f"- intent: {_scalar(JOIN.join(labels))}\n  examples: |\n"
            before = labels
        yield f"    - {' '.join(text.split())}\n"
    if before is None:
        yield "  []\n"


def can_hold(text: str, labels: Sequence[str] | None, *, many: bool) -> bool:
    """Whether Rasa's format can hold a question: labelled, and in letters YAML has.

    Args:
        text: Of the question.
        labels: Its intent codes.
        many: Whether a question may have several intents; a code with a `+` would then
            be read as two.
    """
    if not labels or (many and any(JOIN in code for code in labels)):
        return False
    return not any(_NO_YAML.search(part) for part in (" ".join(text.split()), *labels))


def _scalar(code: str) -> str:
    if _PLAIN.fullmatch(code) and code.lower() not in _RESERVED:
        return code
    return '"' + code.replace("\\", "\\\\").replace('"', '\\"') + '"'
