"""Templates: text with slots in braces, read and checked, and slots' values."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from labeling.models import Intent, Project, Template
from labeling.normalise import normalise

MOST_VALUES = 5000
"""Values that a slot may have."""

Values = Mapping[str, Sequence[str]]
"""Values by the slot's name."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template, read."""

    pieces: tuple[str, ...]
    """What stands before, between and after the slots: one more than there are slots.
    """
    slots: tuple[str, ...]
    """Names in the order of the text; one that stands twice is named twice."""

    def filled(self, values: Sequence[str]) -> str:
        """The text with a value for each slot; runs of white space are one space."""
        text = self.pieces[0] + "".join(
            value + piece for value, piece in zip(values, self.pieces[1:], strict=True)
        )
        return " ".join(text.split())

    def count(self, values: Values) -> int:
        """How many fillings there are; a slot that stands twice has two values."""
        return math.prod(
            math.perm(len(values[name]), times)
            if times <= len(values[name])
            else len(values[name]) ** times
            for name, times in Counter(self.slots).items()
        )


def parse(text: str) -> Parsed:
    """Reads a template: `{slot}` is a slot, `{{` and `}}` are braces.

    Raises:
        ValidationError: Braces don't pair, or hold nothing; the message says where.
    """
    pieces, slots = [""], []
    at = 0
    while at < len(text):
        char = text[at]
        if char in "{}" and text[at : at + 2] == 2 * char:
            pieces[-1] += char
            at += 2
        elif char == "{":
            end = _closing(text, at)
            name = text[at + 1 : end].strip()
            if not name:
                raise ValidationError(
                    _("Empty braces in “%(text)s”: write a slot's name between them.")
                    % {"text": text}
                )
            slots.append(name)
            pieces.append("")
            at = end + 1
        elif char == "}":
            raise ValidationError(
                _(
                    "A closing brace without an opening one in “%(text)s”, after"
                    " “%(before)s”. For a brace itself write it twice: }}."
                )
                % {"text": text, "before": text[max(0, at - 15) : at]}
            )
        else:
            pieces[-1] += char
            at += 1
    return Parsed(tuple(pieces), tuple(slots))


def _closing(text: str, start: int) -> int:
    """Where the brace that opens at `start` closes."""
    end = text.find("}", start)
    inner = text.find("{", start + 1)
    if end < 0 or 0 <= inner < end:
        raise ValidationError(
            _(
                "The brace before “%(after)s” is not closed. For a brace itself write"
                " it twice: {{."
            )
            % {"after": text[start + 1 : start + 16]}
        )
    return end


def values_of(lines: str) -> list[str]:
    """A slot's values: its lines without empty ones and doubles, in their order."""
    found: dict[str, str] = {}
    for line in lines.splitlines():
        value = " ".join(line.split())
        if value:
            found.setdefault(normalise(value), value)
    return list(found.values())


def slots_of(project: Project) -> dict[str, list[str]]:
    """The values of a project's slots by name. One query, none for prefetched ones."""
    return {slot.name: values_of(slot.values) for slot in project.slots.all()}


def check(text: str, values: Values) -> Parsed:
    """Reads a template and checks that the project can fill it.

    Raises:
        ValidationError: It can't be read, or names a slot that is not there or has no
            values; the message names it.
    """
    parsed = parse(text)
    problems = []
    for name in dict.fromkeys(parsed.slots):
        if name not in values:
            problems.append(_("There is no slot “%(name)s” here.") % {"name": name})
        elif not values[name]:
            problems.append(_("The slot “%(name)s” has no values.") % {"name": name})
    if not parsed.slots and not "".join(parsed.pieces).strip():
        problems.append(_("The template is empty."))
    if problems:
        raise ValidationError(problems)
    return parsed


def add(intent: Intent, texts: Sequence[str], *, by: User | None) -> list[Template]:
    """Adds templates to an intent; ones that it has already are left as they are.

    Args:
        intent: In use.
        texts: Templates.
        by: Who writes them.

    Returns:
        Those that are new, in their order.

    Raises:
        ValidationError: One of them can't be filled; the messages say which and why.

    Cost: three queries.
    """
    values = slots_of(intent.project)
    problems: list[str] = []
    for text in texts:
        try:
            check(text, values)
        except ValidationError as error:
            problems += [f"{text[:60]}: {message}" for message in error.messages]
    if problems:
        raise ValidationError(problems)
    there = set(intent.templates.values_list("text", flat=True))
    new = [text for text in dict.fromkeys(texts) if text not in there]
    return Template.objects.bulk_create(
        [Template(intent=intent, text=text, created_by=by) for text in new]
    )


def using(name: str, texts: Iterable[str]) -> list[str]:
    """Those of some templates that hold a slot; ones that can't be read hold none."""
    found = []
    for text in texts:
        try:
            if name in parse(text).slots:
                found.append(text)
        except ValidationError:
            continue
    return found
