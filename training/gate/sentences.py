"""The gate's reasons as sentences that a manager understands."""

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from training.gate.rules import Reason


def sentence(reason: Reason) -> str:
    """The reason as a sentence in the active language."""
    say = _SENTENCES.get(reason["code"])
    return say(reason["values"], reason["passed"]) if say else str(reason["code"])


def _percent(share: float) -> str:
    # Translators: a percentage, with or without a space as is usual.
    return _("%(n)s %%") % {"n": number_format(round(100 * share, 1), 1)}


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _most(loss: float) -> str:
    """What a rule allows, in points without a sign."""
    return f"{100 * loss:.1f}"


def _say_enough(values: dict[str, Any], ok: bool) -> str:
    n, needed = values["n"], values["needed"]
    if n >= needed:
        return _("Measured on %(n)d test questions.") % values
    if ok and not n:
        return (
            _(
                "No test question is labelled, so nothing was measured. Accepted for a"
                " first version; the next needs at least %(needed)d."
            )
            % values
        )
    if ok:
        return (
            _(
                "Only %(n)d test questions: the figures below are rough. Accepted for"
                " a first version; the next needs at least %(needed)d."
            )
            % values
        )
    return (
        _(
            "Only %(n)d test questions: at least %(needed)d are needed to replace the"
            " active version."
        )
        % values
    )


def _say_majority(values: dict[str, Any], ok: bool) -> str:
    words = {
        "accuracy": _percent(values["accuracy"]),
        "floor": _percent(values["floor"]),
    }
    if ok:
        return (
            _(
                "%(accuracy)s right; always answering the commonest intent gives"
                " %(floor)s."
            )
            % words
        )
    return (
        _(
            "%(accuracy)s right is no better than always answering the commonest"
            " intent (%(floor)s)."
        )
        % words
    )


def _say_no_loss(values: dict[str, Any], ok: bool) -> str:
    words = {
        "difference": _points(values["difference"]),
        "low": _points(values["low"]),
        "high": _points(values["high"]),
        "fixed": values["fixed"],
        "broken": values["broken"],
    }
    if ok:
        return (
            _(
                "Macro-F1 against the active version: %(difference)s points (95 %%"
                " interval %(low)s to %(high)s); %(fixed)d questions fixed, %(broken)d"
                " broken."
            )
            % words
        )
    return (
        _(
            "Macro-F1 falls against the active version, and not by accident:"
            " %(difference)s points (95 %% interval %(low)s to %(high)s); %(fixed)d"
            " questions fixed, %(broken)d broken."
        )
        % words
    )


def _say_forgotten(values: dict[str, Any], ok: bool) -> str:
    if ok:
        return _("No intent of the active version is forgotten.")
    named = ", ".join(
        f"{loss['intent']} {_percent(loss['before'])} → {_percent(loss['after'])}"
        for loss in values["intents"][:5]
    )
    return _("Forgotten intents (recall before → after): %(intents)s.") % {
        "intents": named
    }


def _say_floor(values: dict[str, Any], ok: bool) -> str:
    words = {
        "version": _percent(values["version"]),
        "floor": _percent(values["floor"]),
    }
    if values["measure"] == "micro_f1":
        words |= {"name": _("Micro-F1")}
    else:
        words |= {"name": _("Accuracy")}
    if not ok:
        return (
            _(
                "%(name)s %(version)s: counting words with logistic regression on the"
                " same labels is better (%(floor)s), and not by accident. The training"
                " gained nothing."
            )
            % words
        )
    if values["difference"] < 0.0:
        return (
            _(
                "%(name)s %(version)s; counting words gives %(floor)s. The difference"
                " may be an accident: label more test questions to be sure."
            )
            % words
        )
    return _("%(name)s %(version)s; counting words gives %(floor)s.") % words


def _say_little_forgotten(values: dict[str, Any], ok: bool) -> str:
    words = {
        "before": _percent(values["before"]),
        "after": _percent(values["after"]),
        "difference": _points(values["difference"]),
        "low": _points(values["low"]),
        "high": _points(values["high"]),
        "intents": values["intents"],
        "n": values["n"],
        "allowed": _most(values["allowed"]),
    }
    if ok:
        return (
            _(
                "On the %(intents)d intents that the active version knew, %(before)s →"
                " %(after)s right (%(difference)s points; %(n)d questions)."
            )
            % words
        )
    return (
        _(
            "On the %(intents)d intents that the active version knew, %(before)s →"
            " %(after)s right: %(difference)s points (95 %% interval %(low)s to"
            " %(high)s; %(n)d questions); at most %(allowed)s points may be lost."
        )
        % words
    )


def _say_calibration(values: dict[str, Any], ok: bool) -> str:
    words = {name: _percent(values[name]) for name in ("before", "after")}
    words |= {"allowed": _most(values["allowed"])}
    if ok:
        return (
            _(
                "Stated confidence is off by %(after)s on average; the active version's"
                " by %(before)s."
            )
            % words
        )
    return (
        _(
            "Stated confidence is off by %(after)s on average, the active version's"
            " by %(before)s: more than %(allowed)s points worse."
        )
        % words
    )


def _say_out_of_scope(values: dict[str, Any], ok: bool) -> str:
    words = {name: _percent(values[name]) for name in ("before", "after")}
    words |= {"allowed": _most(values["allowed"])}
    if ok:
        return _("Out-of-scope F1 %(before)s → %(after)s.") % words
    return (
        _(
            "Questions of no intent are recognised worse: F1 %(before)s → %(after)s,"
            " at most %(allowed)s points may be lost."
        )
        % words
    )


def _say_int8(values: dict[str, Any], ok: bool) -> str:
    words = {
        "agreement": _percent(values["agreement"]),
        "needed": _percent(values["needed"]),
    }
    if not values["kept"]:
        return (
            _("The exact model serves: the small one agrees on %(agreement)s only.")
            % words
        )
    if ok:
        return _("The small int8 model serves; it agrees on %(agreement)s.") % words
    return (
        _("The int8 model agrees on %(agreement)s only; %(needed)s are needed.") % words
    )


_SENTENCES = {
    "enough_test_questions": _say_enough,
    "beats_majority": _say_majority,
    "beats_floor": _say_floor,
    "no_loss": _say_no_loss,
    "nothing_forgotten": _say_forgotten,
    "little_forgotten": _say_little_forgotten,
    "calibration_kept": _say_calibration,
    "out_of_scope_kept": _say_out_of_scope,
    "int8_agrees": _say_int8,
}
