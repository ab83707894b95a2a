"""An existing classifier becomes a candidate version of a project."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from labeling.intake.codes import CodeBook, CodeProblem
from labeling.models import Project, Question
from registry import versions
from registry.models import Version
from registry.onnx.session import LABELS_FILE
from training import evaluation, gate
from training.foreign.errors import ForeignError
from training.foreign.folders import WEIGHTS, Found, look
from training.ml.interface import Progress
from training.running import provenance
from training.statistics import calibration

CARD_FILE = "card.md"

_COPIED = (
    *("config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"),
    "special_tokens_map.json",
)
_SHOWN = 10
"""Labels that an error names."""


def read_map(path: Path) -> dict[str, str]:
    """A JSON object {their label: intent code}.

    Raises:
        ForeignError: It is something else.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ForeignError(
            _("%(file)s cannot be read: %(error)s") % {"file": path, "error": error}
        ) from error
    is_map = isinstance(document, dict) and all(
        isinstance(code, str) for code in document.values()
    )
    if not is_map:
        raise ForeignError(
            _("%s must be a JSON object: {their label: intent code}.") % path
        )
    return dict(document)


def import_folder(
    project: Project,
    folder: Path,
    *,
    codes: Mapping[str, str] | None = None,
    create_intents: bool = False,
    report: Callable[[Progress], None] = lambda _progress: None,
) -> Version:
    """Takes a Hugging Face classifier in, as it answers, and lets the gate judge it.

    It is exported, checked in int8, calibrated on the project's validation questions,
    measured on its test questions and judged as a version that was trained here. A
    training can't go on from it: its head reads the first token, ours the mean.

    Args:
        project: Whose version it becomes.
        folder: config.json, model.safetensors and a tokenizer.
        codes: Which intent each of its labels means; its labels themselves when None.
        create_intents: Whether codes that the project lacks become intents.
        report: Told the stages of the export.

    Raises:
        ForeignError: The folder can't be used, or its labels name no intents.
        TrainingError: Its weights are not what its config says.
        registry.artifacts.ArtifactError: Its files can't be a version.
    """
    found = look(folder)
    if found.multi is not None and found.multi != project.is_multi_intent:
        raise ForeignError(
            _("The model answers several intents a question, the project one.")
            if found.multi
            else _("The model answers one intent a question, the project several.")
        )
    book = CodeBook(project, create=create_intents)
    label_set = _label_set(found, codes, book)
    fallback = book.pending_fallback or evaluation.scope_of(project).fallback
    home = Path(settings.HOME) / "imports"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as name:
        out = Path(name)
        _copy(found, out, label_set, multi=project.is_multi_intent)
        known = _export(project, out, report)
        calibrated = calibration.of_folder(
            out,
            evaluation.asked(_labelled(project, Question.Split.VALIDATION)).rows,
            multi=project.is_multi_intent,
            fallback=fallback,
        )
        origin = _provenance(found, label_set, known, calibrated)
        (out / CARD_FILE).write_text(_card(project, found, origin), "utf-8")
        with transaction.atomic():
            book.create_pending()
            version = versions.register(
                project,
                folder=out,
                label_set=label_set,
                parent=None,
                provenance=origin,
                **calibrated.as_json(),
            )
    return gate.judge(version)


def _label_set(
    found: Found, codes: Mapping[str, str] | None, book: CodeBook
) -> list[str]:
    """The intents of the model's outputs, by their codes of today.

    Raises:
        ForeignError: Labels that the map lacks, that name no intent, or the same one.
    """
    known = found.labels if codes is None else codes
    if lacking := [label for label in found.labels if label not in known]:
        raise ForeignError(
            _("The map says nothing of these labels: %s.") % _listed(lacking)
        )
    named = [label if codes is None else codes[label] for label in found.labels]
    label_set: list[str] = []
    problems: list[str] = []
    for code in named:
        try:
            label_set += book.resolve([code])
        except CodeProblem as problem:
            problems.append(str(problem))
    if problems:
        raise ForeignError(
            _("These labels name no intent of the project: %s.") % _listed(problems)
            + " "
            + _("Map them with --map, or let --create-intents make them.")
        )
    if twice := [
        code for code in dict.fromkeys(label_set) if label_set.count(code) > 1
    ]:
        raise ForeignError(
            _("Several labels mean the same intent: %s.") % _listed(twice)
            + " "
            + _("Import them as intents of their own and merge these afterwards.")
        )
    return label_set


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    rest = len(names) - _SHOWN
    return (
        shown
        if rest <= 0
        else _("%(names)s and %(n)d more")
        % {
            "names": shown,
            "n": rest,
        }
    )


def _copy(found: Found, out: Path, label_set: list[str], *, multi: bool) -> None:
    for name in _COPIED:
        if (found.path / name).is_file():
            # Copied, not linked: a version's files must not change with the folder.
            shutil.copyfile(found.path / name, out / name)
    if not (out / "tokenizer.json").is_file():
        from training.ml.classifier import write_tokenizer

        write_tokenizer(found.path, out)
    document = {
        "labels": label_set,
        "multi": multi,
        "max_length": found.max_length,
    }
    text = json.dumps(document, ensure_ascii=False, indent=2)
    (out / LABELS_FILE).write_text(text + "\n", "utf-8")


def _export(
    project: Project, out: Path, report: Callable[[Progress], None]
) -> dict[str, Any]:
    """Writes the ONNX files; int8 is compared on the project's own questions."""
    from training.ml.export import MAX_SAMPLES, export

    questions = Question.objects.filter(project=project).exclude(
        split=Question.Split.TEST
    )
    # Labelled ones first: they are of the intents that it is asked for.
    texts = questions.order_by("labelled_at", "id").values_list("text", flat=True)
    exported = export(out, out, samples=list(texts[:MAX_SAMPLES]), report=report)
    return asdict(exported)


def _labelled(project: Project, split: str) -> Any:
    return Question.objects.filter(
        project=project, state=Question.State.LABELLED, split=split
    )


def _provenance(
    found: Found,
    label_set: list[str],
    exported: dict[str, Any],
    calibrated: calibration.Calibration,
) -> dict[str, Any]:
    return {
        "base": f"imported:{found.path.name}",
        "preset": "imported",
        "imported": {
            "folder": str(found.path),
            "architecture": found.architecture,
            "labels": dict(zip(found.labels, label_set, strict=True)),
        },
        "export": exported,
        "calibration": calibrated.report,
        "code_revision": provenance.code_revision(),
        "libraries": provenance.library_versions(),
        "machine": provenance.machine(),
    }


def _card(project: Project, found: Found, origin: dict[str, Any]) -> str:
    lines = [
        "---",
        "pipeline_tag: text-classification",
        "library_name: onnxruntime",
        "---",
        "",
        f"# Intent model of {project.name}",
        "",
        f"Imported from `{found.path.name}`, a {found.architecture} with"
        f" {len(found.labels)} labels. It was not trained here.",
        "",
        f"The file that serves is `{origin['export']['served']}`."
        f" {origin['export']['reason']}",
        "",
        "| label | intent |",
        "|---|---|",
        *(f"| {own} | {code} |" for own, code in origin["imported"]["labels"].items()),
        "",
    ]
    return "\n".join(lines)
