"""Label Studio's exports "JSON" and "JSON-MIN": a list of tasks, read as a stream.

Source: https://labelstud.io/guide/export (formats JSON and JSON_MIN).
"""

from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import ijson
from django.utils.translation import gettext as _

from labeling.formats.rows import BadLine, Row, Unreadable

MAX_TASK_BYTES = 16 * 1024**2
"""Of one task with all that was said about it."""

_TEXTS = ("text", "user_input", "question", "query", "utterance")
_FIELDS = (
    *("label", "labels", "intent", "intents", "intent_code"),
    *("choice", "choices", "class", "category", "sentiment"),
)


class _Bounded:
    """Hands a file on as long as each task stays within `MAX_TASK_BYTES`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.since_task = 0
        self._is_first = True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if size != 0 and self._is_first:
            self._is_first = False
            data = data.removeprefix(b"\xef\xbb\xbf")
            if not data.lstrip().startswith(b"["):
                raise Unreadable(
                    _("The file is no Label Studio export: it has no list of tasks.")
                )
        self.since_task += len(data)
        if self.since_task > MAX_TASK_BYTES:
            raise Unreadable(
                _("A task is larger than %(mb)s MB.")
                % {"mb": MAX_TASK_BYTES // 1024**2}
            )
        return data


def read(file: IO[bytes]) -> Iterator[Row | BadLine]:
    """Tasks with their choices.

    Several annotations of a task count like this: the first that is marked as ground
    truth; else the labels that most annotators gave; where two are equally frequent,
    none, and the question waits for a label. Cancelled annotations and predictions do
    not count. In JSON-MIN each annotation is a row of its own: the first one is taken,
    and one that differs becomes a conflict of the import.

    Yields:
        A row or a bad line for each task; its number is the task's place in the file.

    Raises:
        Unreadable: It is no JSON, or no list.
    """
    bounded = _Bounded(file)
    number = 0
    try:
        for task in ijson.items(bounded, "item", buf_size=65536, use_float=True):
            number += 1
            bounded.since_task = 0
            yield _row(number, task)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise Unreadable(
            _("Task %(n)s: not JSON (%(error)s).")
            % {"n": number + 1, "error": str(error).splitlines()[0][:100]}
        ) from error


def _row(number: int, task: Any) -> Row | BadLine:
    if not isinstance(task, dict):
        return BadLine(number, _("not a JSON object"))
    data = task.get("data")
    text = _text_of(data if isinstance(data, dict) else task)
    if text is None:
        return BadLine(number, _("no text"))
    if not isinstance(data, dict):
        return _min_row(number, text, task)
    annotations = task.get("annotations", task.get("completions"))
    labels: list[tuple[str, ...]] = []
    for annotation in annotations if isinstance(annotations, list) else ():
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        given = _choices_of(annotation.get("result"))
        if given is None:
            continue
        if annotation.get("ground_truth"):
            return Row(number, text, given)
        labels.append(given)
    return Row(number, text, _most_frequent(labels))


def _min_row(number: int, text: str, task: dict[str, Any]) -> Row | BadLine:
    """A row of JSON-MIN, where the choices stand under their control's name."""
    found = {
        name: choices
        for name, value in task.items()
        if (choices := _min_choices(name, value)) is not None
    }
    if len(set(found.values())) > 1:
        return BadLine(
            number,
            _("several fields could be the label: %(names)s")
            % {"names": ", ".join(sorted(found))[:100]},
        )
    return Row(number, text, next(iter(found.values()), None))


def _min_choices(name: str, value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        return _codes(value.get("choices"))
    if name.lower() in _FIELDS:
        return _codes([value] if isinstance(value, str) else value)
    return None


def _text_of(data: dict[str, Any]) -> str | None:
    for name in _TEXTS:
        value = data.get(name)
        if isinstance(value, str):
            return value
    texts = [value for value in data.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else None


def _choices_of(result: Any) -> tuple[str, ...] | None:
    """The choices of one annotation; None if it holds none."""
    given: list[str] = []
    for part in result if isinstance(result, list) else ():
        if isinstance(part, dict) and part.get("type") == "choices":
            value = part.get("value")
            codes = _codes(value.get("choices")) if isinstance(value, dict) else None
            given.extend(codes or ())
    return tuple(sorted(set(given))) or None


def _codes(values: Any) -> tuple[str, ...] | None:
    if not isinstance(values, list) or not all(isinstance(x, str) for x in values):
        return None
    return tuple(sorted({x.strip() for x in values if x.strip()})) or None


def _most_frequent(labels: list[tuple[str, ...]]) -> tuple[str, ...] | None:
    ranked = Counter(labels).most_common(2)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]
