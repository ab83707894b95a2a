"""The figures of an evaluation, with their intervals and what stands beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _

Metrics = Mapping[str, Any]
"""What `Evaluation.metrics` holds; older evaluations lack the newer keys."""


@dataclass(frozen=True)
class Figure:
    """One measure of a version, and the same measure of what it stands beside."""

    key: str
    name: str
    about: str
    """One sentence on what it measures."""
    value: float | None
    """0 to 1, as all the others here."""
    low: float | None = None
    high: float | None = None
    """The 95 % interval."""
    floor: float | None = None
    rules: float | None = None
    active: float | None = None
    """Of the version that was active when this one was measured."""
    lower_is_better: bool = False

    @property
    def change(self) -> float | None:
        """Value less that of the active version."""
        if self.value is None or self.active is None:
            return None
        return self.value - self.active

    @property
    def change_kind(self) -> str:
        """good, bad or nothing, once the change is visible in its first decimal."""
        if self.change is None or abs(self.change) < 0.0005:
            return ""
        return "good" if (self.change > 0) != self.lower_is_better else "bad"


def points(difference: float | None, *, digits: int = 1) -> str:
    """A difference of two shares in signed percentage points; a dash for None."""
    if difference is None:
        return "–"
    shown = round(100 * difference, digits)
    sign = "+" if shown > 0 else "−" if shown < 0 else "±"
    return f"{sign}{number_format(abs(shown), digits)}"


def p_value(p: float) -> str:
    """A probability as "= 0.031" or "< 0.001"."""
    if p < 0.001:
        return f"< {number_format(0.001, 3)}"
    return f"= {number_format(round(p, 3), 3)}"


def beside(metrics: Metrics) -> dict[str, Any]:
    """What stands beside a version's figures, as the pages' templates take it."""
    missing = {
        "no_dataset": _("No floor: the dataset that it would learn from is not known."),
        "nothing_to_learn": _("No floor: the dataset has fewer than two intents."),
        "no_memory": _("No floor: the worker had too little memory for it."),
    }
    return {
        "floor": metrics.get("floor"),
        "floor_missing": missing.get(metrics.get("floor_missing") or "", ""),
        "rules": metrics.get("rules"),
        "compared": metrics.get("compared"),
        "majority": metrics.get("majority_accuracy"),
        "unknown": sorted((metrics.get("unknown") or {}).items()),
    }


def figures(metrics: Metrics, *, multi: bool) -> list[Figure]:
    """All figures that were measured, the most telling first."""
    rows = _of_many(metrics) if multi else _of_one(metrics)
    return [*rows, *_out_of_scope(metrics), *_calibration(metrics)]


def headline(metrics: Metrics, *, multi: bool) -> list[Figure]:
    """The four figures that say most."""
    first = ("exact_match", "micro_f1") if multi else ("accuracy", "macro_f1")
    known = {figure.key: figure for figure in figures(metrics, multi=multi)}
    keys = (*first, "out_of_scope_f1", "ece")
    return [known[key] for key in keys if key in known]


def _of_one(metrics: Metrics) -> list[Figure]:
    return _known(
        _overall(
            metrics, "accuracy", _("Accuracy"), _("Share of questions answered right.")
        ),
        _macro(metrics),
        _in_scope(metrics),
    )


def _of_many(metrics: Metrics) -> list[Figure]:
    return _known(
        _overall(
            metrics,
            "accuracy",
            _("Exact match"),
            _("Share of questions with exactly the right intents, none more."),
            key="exact_match",
        ),
        _overall(
            metrics,
            "micro_f1",
            _("Micro-F1"),
            _("F1 of all decisions together: frequent intents count more."),
        ),
        _overall(
            metrics,
            "example_f1",
            _("Example F1"),
            _("Mean over questions of the F1 of each question's intents."),
        ),
        _macro(metrics),
        _in_scope(metrics),
    )


def _macro(metrics: Metrics) -> Figure:
    about = _("Mean over intents of the F1 of each: rare intents count as much.")
    return _overall(metrics, "macro_f1", _("Macro-F1"), about)


def _in_scope(metrics: Metrics) -> Figure:
    about = _("Share answered right of the questions that have an intent.")
    return _overall(metrics, "in_scope_accuracy", _("In-scope accuracy"), about)


def _overall(
    metrics: Metrics, measure: str, name: str, about: str, *, key: str = ""
) -> Figure:
    value = metrics.get(measure)
    low, high = _part(metrics, "intervals").get(measure) or (None, None)
    change = _part(metrics, "compared").get(measure)
    return Figure(
        key=key or measure,
        name=name,
        about=about,
        value=value,
        low=low,
        high=high,
        floor=_part(metrics, "floor").get(measure),
        rules=_part(metrics, "rules").get(measure),
        active=None if value is None or change is None else value - change,
    )


def _out_of_scope(metrics: Metrics) -> list[Figure]:
    own = _part(metrics, "out_of_scope")
    floor = _part(_part(metrics, "floor"), "out_of_scope")
    rules = _part(_part(metrics, "rules"), "out_of_scope")
    before = _part(_part(metrics, "compared"), "out_of_scope").get("before")
    named = (
        (
            "f1",
            _("Out-of-scope F1"),
            _("Precision and recall of “belongs to no intent” in one figure."),
        ),
        (
            "precision",
            _("Out-of-scope precision"),
            _("Of what was turned away, the share that belonged to no intent."),
        ),
        (
            "recall",
            _("Out-of-scope recall"),
            _("Of what belongs to no intent, the share that was turned away."),
        ),
        (
            "auroc",
            _("Out-of-scope AUROC"),
            _(
                "Chance that a question of no intent scores as further out of scope"
                " than one that has an intent."
            ),
        ),
    )
    return _known(
        *(
            Figure(
                key=f"out_of_scope_{key}",
                name=name,
                about=about,
                value=own.get(key),
                floor=floor.get(key),
                rules=rules.get(key),
                active=_number(before, key),
            )
            for key, name, about in named
        )
    )


def _calibration(metrics: Metrics) -> list[Figure]:
    own = _part(metrics, "calibration")
    before = _part(_part(metrics, "compared"), "calibration").get("before")
    return _known(
        Figure(
            key="ece",
            name=_("Calibration error"),
            about=_(
                "How far stated confidence is from the share that is right, on average"
                " (ECE); 0 is best."
            ),
            value=own.get("ece"),
            active=_number(before, "ece"),
            lower_is_better=True,
        ),
        Figure(
            key="ece_before",
            name=_("Calibration error, uncalibrated"),
            about=_("The same without the temperature that calibration found."),
            value=_part(own, "before").get("ece"),
            lower_is_better=True,
        ),
    )


def _number(value: Any, key: str) -> float | None:
    """A figure that stands alone (F1, ECE), or is one of several in a dictionary."""
    if isinstance(value, Mapping):
        value = value.get(key)
    elif key not in ("f1", "ece"):
        return None
    return float(value) if value is not None else None


def _part(whole: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return whole.get(key) or {}


def _known(*rows: Figure) -> list[Figure]:
    return [row for row in rows if row.value is not None]
