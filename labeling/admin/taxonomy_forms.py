"""Forms of the pages that change a label set."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from labeling.models import Intent, Question
from labeling.normalise import text_hash
from labeling.taxonomy import Part

MAX_PARTS = 8
"""Parts that the page of a split offers."""


def _comment() -> forms.CharField:
    return forms.CharField(
        label=_("Comment"),
        required=False,
        help_text=_("Why; it goes into the history."),
        widget=UnfoldAdminTextInputWidget,
    )


class RenameForm(forms.Form):
    """An intent's new code."""

    code = forms.CharField(
        label=_("New code"),
        max_length=100,
        help_text=_("What client apps receive; they may go on sending the old one."),
        widget=UnfoldAdminTextInputWidget,
    )


class _IntentChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, obj: Any) -> str:
        return (
            f"{obj.code} · {obj.name}" if obj.name not in ("", obj.code) else obj.code
        )


class MergeForm(forms.Form):
    """The intent that the chosen ones become."""

    target = _IntentChoice(
        Intent.objects.none(),
        label=_("Merge into"),
        empty_label=_("Choose an intent"),
        help_text=_("It stays; the others become old codes of it."),
        widget=UnfoldAdminSelectWidget,
    )
    comment = _comment()

    def __init__(self, *args: Any, targets: QuerySet[Intent], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["target"]
        field.queryset = targets


class SplitForm(forms.Form):
    """Which part inherits the old code, and why it is split."""

    heir = forms.IntegerField(required=False, widget=forms.HiddenInput)
    comment = _comment()


class PartForm(forms.Form):
    """One part of an intent that is split."""

    code = forms.CharField(
        label=_("Code"), max_length=100, widget=UnfoldAdminTextInputWidget
    )
    name = forms.CharField(
        label=_("Name"),
        max_length=120,
        required=False,
        widget=UnfoldAdminTextInputWidget,
    )
    keywords = forms.CharField(
        label=_("Keywords"),
        required=False,
        help_text=_(
            "Separated by commas or lines. A question that holds one goes here."
        ),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )
    examples = forms.CharField(
        label=_("Example questions"),
        required=False,
        help_text=_(
            "One a line: labelled questions, by text or number. Others that are clearly"
            " more like these than like another part's go here, too."
        ),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    takes_rest = forms.BooleanField(
        label=_("Takes all questions that hold no keyword"),
        required=False,
        widget=UnfoldBooleanWidget,
    )

    def __init__(self, *args: Any, intent: Intent, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intent = intent

    def clean_keywords(self) -> tuple[str, ...]:
        words = re.split(r"[,，、;；\n]", self.cleaned_data["keywords"])
        return tuple(dict.fromkeys(word.strip() for word in words if word.strip()))

    def clean_examples(self) -> tuple[int, ...]:
        lines = [line.strip() for line in self.cleaned_data["examples"].splitlines()]
        return tuple(dict.fromkeys(self._question_id(line) for line in lines if line))

    def part(self) -> Part:
        """What was filled in."""
        values = self.cleaned_data
        return Part(
            code=values["code"],
            name=values["name"],
            keywords=values["keywords"],
            seeds=values["examples"],
            takes_rest=values["takes_rest"],
        )

    def _question_id(self, line: str) -> int:
        questions = Question.objects.of(self._intent.project)
        by_text = questions.filter(text_hash=text_hash(line))
        found = by_text.values_list("pk", flat=True).first()
        if found is None and line.isdecimal() and len(line) < 19:
            found = questions.filter(pk=line).values_list("pk", flat=True).first()
        if found is None:
            raise ValidationError(
                gettext("There is no question “%(text)s”.") % {"text": line[:80]}
            )
        return found


def parts_of(intent: Intent, data: Any = None) -> Any:
    """The formset of a split's parts, as it was posted, if it was.

    Before that it has two parts, and the first is the intent itself.
    """
    if data is not None:
        kind = forms.formset_factory(
            PartForm, extra=0, max_num=MAX_PARTS, absolute_max=MAX_PARTS
        )
        return kind(data, prefix="part", form_kwargs={"intent": intent})
    start = [{"code": intent.code, "name": intent.name}, {}]
    return _unchecked(intent, start)


def typed_parts(intent: Intent, data: Any, *, more: int = 0) -> Any:
    """What was typed into the parts, not checked yet, and empty parts after it."""
    number = str(data.get("part-TOTAL_FORMS"))
    count = min(int(number) if number.isdecimal() else 0, MAX_PARTS)
    rows: list[dict[str, Any]] = []
    for n in range(count):
        row = {name: data.get(f"part-{n}-{name}", "") for name in PartForm.base_fields}
        rows.append({**row, "takes_rest": row["takes_rest"] in ("on", "True")})
    rows += [{}] * min(more, MAX_PARTS - count)
    return _unchecked(intent, rows)


def _unchecked(intent: Intent, rows: list[dict[str, Any]]) -> Any:
    kind = forms.formset_factory(PartForm, extra=0)
    return kind(initial=rows, prefix="part", form_kwargs={"intent": intent})
