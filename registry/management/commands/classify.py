"""`classify`: answers questions through the engine that the API uses."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from labeling.intake import text_problem
from labeling.models import Project
from registry.llm import fallback
from registry.serving import engine
from registry.serving.engine import Answer

_AT_ONCE = 256
"""Texts of one call of the engine, as in the API."""


class Command(BaseCommand):
    """Answers texts and logs nothing: trying out is not traffic."""

    help = (
        "Answers questions as the API would. Nothing is logged, so an answer has no "
        "request id. With --json one object: {results: [the REST answer, ...]}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="slug of the project")
        parser.add_argument("texts", nargs="*", metavar="TEXT")
        parser.add_argument(
            "--file", type=Path, help="one question a line, UTF-8; - is standard input"
        )
        parser.add_argument("--top-k", type=int, default=3, help="1 to 20")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(
                _("There is no project “%(slug)s”.") % {"slug": options["project"]}
            )
        if not 1 <= options["top_k"] <= 20:
            raise CommandError(_("--top-k is 1 to 20."))
        texts = [_checked(text, _("text")) for text in options["texts"]]
        if options["file"] is not None:
            texts += _lines(options["file"])
        if not texts:
            raise CommandError(_("Give a TEXT, or --file with one a line."))
        answers = list(_answers(project, texts, options["top_k"]))
        if options["json"]:
            results = [answer.as_json(None) for answer in answers]
            self.stdout.write(json.dumps({"results": results}, ensure_ascii=False))
        else:
            for answer in answers:
                self.stdout.write(_line(answer))
        if any(answer.degraded for answer in answers):
            self.stderr.write(
                _("The active version could not answer; rules alone did.")
            )


def _answers(project: Project, texts: list[str], top_k: int) -> Iterator[Answer]:
    target = engine.target_of(project)
    for start in range(0, len(texts), _AT_ONCE):
        part = texts[start : start + _AT_ONCE]
        answers = engine.classify(target, part, top_k=top_k)
        yield from fallback.improve(target, answers)


def _lines(path: Path) -> list[str]:
    """The file's lines but empty ones."""
    try:
        is_piped = str(path) == "-"
        content = sys.stdin.buffer.read() if is_piped else path.read_bytes()
        lines = content.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            _("%(file)s is not UTF-8 (byte %(at)d).")
            % {"file": path, "at": error.start}
        ) from error
    return [
        _checked(line, _("%(file)s, line %(n)d") % {"file": path, "n": n})
        for n, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _checked(text: str, where: str) -> str:
    if (problem := text_problem(text.strip())) is not None:
        raise CommandError(f"{where}: {problem}")
    return text.strip()


def _line(answer: Answer) -> str:
    best = answer.intents[0]["code"] if answer.intents else "-"
    review = "  " + _("to review") if answer.needs_review else ""
    return (
        f"{answer.confidence:6.1%}  {best}  ({answer.method}"
        f"{', v' + answer.version if answer.version else ''})  {answer.text}{review}"
    )
