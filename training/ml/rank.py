"""One of several processes that train a model together: `accelerate launch` starts it.

    accelerate launch … --module training.ml.rank FOLDER

The folder holds the arguments of `training.ml.loop.fit` (`write_arguments`). The main
process prints each progress as a line of JSON and leaves the result there, or what went
wrong (`read_result`). None of them knows the database.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.ml.interface import Epoch, Example, FitResult, Progress, TrainingError
from training.processes.orphans import die_with_parent
from training.recipe import Recipe

_ARGUMENTS, _RESULT, _ERROR = "arguments.json", "result.json", "error.json"


def write_arguments(folder: Path, arguments: dict[str, Any]) -> None:
    """Write down what to train.

    Args:
        folder: is there already, and empty.
        arguments: those of `training.ml.loop.fit`, but for `report`.
    """
    document = {
        name: _plain(value) for name, value in arguments.items() if name != "report"
    }
    text = json.dumps(document, ensure_ascii=False)
    (folder / _ARGUMENTS).write_text(text, "utf-8")


def read_result(folder: Path) -> FitResult:
    """Return what the training did.

    Raises:
        TrainingError: it cannot go on, or a process was killed.
        MemoryError, OSError: what a process met.
        RuntimeError: something else.
    """
    if (folder / _RESULT).is_file():
        values = json.loads((folder / _RESULT).read_text("utf-8"))
        values["history"] = [Epoch(**line) for line in values["history"]]
        return FitResult(**values)
    if not (folder / _ERROR).is_file():
        raise TrainingError(
            "One of the training processes was killed, most likely for lack of memory."
        )
    error = json.loads((folder / _ERROR).read_text("utf-8"))
    name, message = error["name"], error["message"]
    if name == "TrainingError":
        raise TrainingError(message)
    if name == "MemoryError":
        raise MemoryError(message)
    if error["errno"] is not None:
        raise OSError(error["errno"], message)
    raise RuntimeError(f"{name}: {message}")


def main(folder: Path) -> None:
    """Train as one of the processes; exits with 1 when that fails."""
    from training.ml.loop import fit
    from training.ml.processes import Deserted, part

    try:
        result = fit(**_read_arguments(folder), report=_print)
    except Deserted:
        sys.exit(1)  # the one that ended first says why
    except BaseException as error:
        _write_error(folder, error)
        raise
    if os.environ["RANK"] == "0":
        _write(folder / _RESULT, asdict(result))
    part()


def _read_arguments(folder: Path) -> dict[str, Any]:
    values = json.loads((folder / _ARGUMENTS).read_text("utf-8"))
    for name in ("train", "validation"):
        values[name] = [Example(text, tuple(labels)) for text, labels in values[name]]
    for name in ("base", "parent", "out", "checkpoints"):
        values[name] = Path(values[name]) if values[name] is not None else None
    values["recipe"] = Recipe.from_dict(values["recipe"])
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Recipe):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Example):
        return [value.text, value.labels]
    return value


def _print(progress: Progress) -> None:
    print(json.dumps(asdict(progress)), flush=True)


def _write_error(folder: Path, error: BaseException) -> None:
    document = {
        "name": type(error).__name__,
        "message": str(error),
        "errno": error.errno if isinstance(error, OSError) else None,
    }
    # The first one knows; the others only notice.
    if not (folder / _ERROR).exists():
        _write(folder / _ERROR, document)


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write a small file, all or nothing."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(json.dumps(document), "utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    die_with_parent(os.getppid())
    main(Path(sys.argv[1]))
