"""Thresholds and weights decided anew from logged raw scores, without training."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from labeling import revision
from labeling.models import Project
from registry import versions
from registry.models import Tuning, Version
from registry.serving.fusion import Candidate, Decision, Limits, Method, decide, fuse
from registry.serving.rulebook import Rulebook
from registry.serving.runtime import runtime

SETTINGS = (
    "low_confidence",
    "accept_threshold",
    "accept_threshold_rules",
    "rule_weight",
    "model_weight",
)
"""Fields of a project, each 0 to 1."""
MOST = 5_000
"""Answers that a preview decides again, the newest: a second."""
_READ = 50_000
"""Log entries that they are looked for among."""
_MOST_PROPOSED_ON = 2_000
_EXAMPLES = 20
LEAST_LABELLED = 30
"""On fewer labelled answers nothing is proposed."""

Values = Mapping[str, float]


class TuningError(Exception):
    """The change can't be made; the message is a sentence."""


class Logged(NamedTuple):
    """A logged answer with what each side said."""

    text: str
    model: dict[str, float] | None
    """Probability of the likeliest intents, by today's codes; None without a model."""
    rules: dict[str, float]
    wanted: list[str] | None
    """The right intents, sorted; None where no label tells."""


class Changed(NamedTuple):
    """An answer that the change would change."""

    text: str
    before: list[str]
    after: list[str]
    wanted: list[str] | None


@dataclass(frozen=True)
class Side:
    """What the answers are like with one set of values."""

    low: int = 0
    """Answers of low confidence."""
    fallback: int = 0
    """Answers that nothing was sure enough for."""
    right: int = 0
    """Right ones of the labelled."""


@dataclass(frozen=True)
class Preview:
    """What a change would do to logged answers."""

    n: int
    """Answers that were looked at."""
    changed: int
    labelled: int
    before: Side
    after: Side
    examples: list[Changed] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As `Tuning.preview` keeps it: the counts alone."""
        return {**asdict(self), "examples": None}


def current(project: Project) -> dict[str, float]:
    """The values that are in force."""
    return {name: float(getattr(project, name)) for name in SETTINGS}


class Log:
    """The newest answers of what serves a project, to be decided again."""

    def __init__(self, project: Project) -> None:
        """Reads them: three queries, a few tenths of a second for `MOST`."""
        self.project = project
        version = versions.active(project)
        book = runtime.rulebook(project.pk, project.serving_revision)
        self.multi = project.is_multi_intent
        self.fallback = book.fallback
        self.thresholds = _thresholds(version, book)
        self.answers = list(_logged(project, version, book))

    def preview(self, values: Values) -> Preview:
        """What would be answered with these values instead of the current ones."""
        now = current(self.project)
        sides: dict[str, list[int]] = {"before": [0, 0, 0], "after": [0, 0, 0]}
        changed = labelled = 0
        examples: list[Changed] = []
        for one in self.answers:
            codes: list[list[str]] = []
            for side, used in (("before", now), ("after", values)):
                decision = self._decide(one, used)
                chosen = self._codes(decision)
                codes.append(chosen)
                counts = sides[side]
                counts[0] += decision.confidence < used["low_confidence"]
                counts[1] += decision.method == Method.FALLBACK
                counts[2] += chosen == one.wanted
            labelled += one.wanted is not None
            if codes[0] != codes[1]:
                changed += 1
                if len(examples) < _EXAMPLES:
                    old, new = codes
                    examples.append(Changed(one.text, old, new, one.wanted))
        return Preview(
            len(self.answers),
            changed,
            labelled,
            Side(*sides["before"]),
            Side(*sides["after"]),
            examples,
        )

    def propose(self) -> dict[str, float] | None:
        """The weights and the accept threshold with which most answers are right.

        Of those that are equally good the one nearest to the current values, so that
        nothing is changed for nothing. None with fewer than `LEAST_LABELLED` labelled
        answers, or where nothing is better.

        Cost: up to a second.
        """
        labelled = [one for one in self.answers if one.wanted is not None]
        labelled = labelled[:_MOST_PROPOSED_ON]
        if len(labelled) < LEAST_LABELLED:
            return None
        now = current(self.project)
        best = (self._right(labelled, now), 0.0)
        proposed: dict[str, float] | None = None
        for tenth in range(11):
            weights = {"rule_weight": tenth / 10, "model_weight": 1 - tenth / 10}
            fused = [self._fuse(one, weights) for one in labelled]
            for accept in _ACCEPTS:
                values = {**now, **weights}
                if not self.multi:
                    values["accept_threshold"] = accept
                right = sum(
                    self._codes(self._choose(one, candidates, values)) == one.wanted
                    for one, candidates in zip(labelled, fused, strict=True)
                )
                distance = sum(abs(values[name] - now[name]) for name in SETTINGS)
                if (right, -distance) > best:
                    best, proposed = (right, -distance), values
                if self.multi:
                    break  # each intent has a threshold of its own
        if proposed is None or best[0] <= self._right(labelled, now):
            return None
        return {name: round(value, 2) for name, value in proposed.items()}

    def _right(self, answers: Iterable[Logged], values: Values) -> int:
        return sum(self._codes(self._decide(a, values)) == a.wanted for a in answers)

    def _decide(self, one: Logged, values: Values) -> Decision:
        return self._choose(one, self._fuse(one, values), values)

    def _fuse(self, one: Logged, values: Values) -> list[Candidate]:
        return fuse(
            one.rules,
            one.model,
            rule_weight=values["rule_weight"],
            model_weight=values["model_weight"],
            multi=self.multi,
        )

    def _choose(
        self, one: Logged, candidates: list[Candidate], values: Values
    ) -> Decision:
        has_model = one.model is not None
        accept = values["accept_threshold" if has_model else "accept_threshold_rules"]
        limits = Limits(accept, 1, self.fallback, self.thresholds if has_model else {})
        return decide(candidates, limits, multi=self.multi)

    def _codes(self, decision: Decision) -> list[str]:
        chosen = decision.intents if self.multi else decision.intents[:1]
        return sorted(candidate.code for candidate in chosen)


_ACCEPTS = tuple(n / 20 for n in range(2, 17))


def apply(
    project: Project,
    values: Values,
    *,
    expected: Values,
    by: User | None,
    reason: str = "",
    preview: Preview | None = None,
) -> Tuning:
    """Puts values into force, in every serving process within a second.

    Args:
        project: Whose.
        values: All of `SETTINGS`, 0 to 1.
        expected: The values that `by` saw in force.
        by: Who changes them.
        reason: Why.
        preview: What `by` was shown.

    Raises:
        TuningError: Nothing would change, or somebody else has changed them.
    """
    with transaction.atomic():
        held = _hold(project)
        before = current(held)
        if before != {name: float(expected[name]) for name in SETTINGS}:
            raise TuningError(_("Somebody has changed these values meanwhile."))
        if before == dict(values):
            raise TuningError(_("These values are in force already."))
        kept = {} if preview is None else preview.as_json()
        return _put(held, values, by=by, reason=reason.strip(), preview=kept)


def undo(tuning: Tuning, *, by: User | None) -> Tuning:
    """Puts back what a change changed; a change of its own.

    Raises:
        TuningError: It is undone already, or a later change touched the same values.
    """
    with transaction.atomic():
        held = _hold(tuning.project)
        now = current(held)
        touched = [k for k in SETTINGS if tuning.before[k] != tuning.after[k]]
        if Tuning.objects.filter(undoes=tuning).exists():
            raise TuningError(_("This change is undone already."))
        if any(now[name] != tuning.after[name] for name in touched):
            raise TuningError(
                _("A later change touched the same values: undo that one first.")
            )
        values = {**now, **{name: tuning.before[name] for name in touched}}
        return _put(held, values, by=by, undoes=tuning)


def _hold(project: Project) -> Project:
    return Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _put(project: Project, values: Values, **about: Any) -> Tuning:
    before = current(project)
    for name in SETTINGS:
        setattr(project, name, values[name])
    project.save(update_fields=SETTINGS)
    latest = project.tunings.aggregate(latest=Max("number"))["latest"] or 0
    revision.bump(project.pk)
    return Tuning.objects.create(
        project=project,
        number=latest + 1,
        before=before,
        after=current(project),
        **about,
    )


# A label tells who is right only where the version has not learned it.
_LOGGED = """
SELECT log.text, log.scores,
    CASE WHEN q.id IS NOT NULL THEN coalesce((
        SELECT jsonb_agg(i.code ORDER BY i.code) FROM labeling_goldlabel g
        JOIN labeling_intent i ON i.id = g.intent_id
        WHERE g.question_id = q.id), '[]') END
FROM (
    SELECT * FROM (
        SELECT text, scores, question_id, version FROM registry_classificationlog
        WHERE project_id = %(project)s
        ORDER BY created_at DESC LIMIT %(read)s) AS newest
    WHERE version = %(version)s AND scores IS NOT NULL LIMIT %(most)s) AS log
LEFT JOIN labeling_question q
    ON q.id = log.question_id AND q.state = 'labelled' AND q.trained_in = ''
"""


def _logged(
    project: Project, version: Version | None, book: Rulebook
) -> Iterator[Logged]:
    with connection.cursor() as cursor:
        cursor.execute(
            _LOGGED,
            {
                "project": project.pk,
                "version": "" if version is None else str(version.number),
                "most": MOST,
                "read": _READ,
            },
        )
        rows: Sequence[Any] = cursor.fetchall()
    none = [] if book.fallback is None else [book.fallback]
    for text, scores, gold in rows:
        scores, gold = _parsed(scores), _parsed(gold)
        model = scores.get("model")
        if version is not None and model is None:
            continue  # it could not answer
        wanted = None
        if gold is not None:
            # A label that names what is answered no more tells nothing.
            today = [book.current(code) for code in gold]
            wanted = None if None in today else sorted(c for c in today if c) or none
        yield Logged(
            text,
            None
            if model is None
            else _today(model, book, multi=project.is_multi_intent),
            _today(scores.get("rules") or {}, book, multi=True),
            wanted,
        )


def _parsed(value: Any) -> Any:
    """Django's connection hands JSON over as text where no field asks for it."""
    return json.loads(value) if isinstance(value, str) else value


def _today(
    scores: Mapping[str, float], book: Rulebook, *, multi: bool
) -> dict[str, float]:
    """Scores by today's codes, joined as `registry.onnx.reading.Columns.join` does."""
    joined: dict[str, float] = {}
    for code, score in scores.items():
        today = book.current(code)
        if today is not None:
            own = joined.get(today, 0.0)
            joined[today] = max(own, score) if multi else min(1.0, own + score)
    return joined


def _thresholds(version: Version | None, book: Rulebook) -> dict[str, float]:
    thresholds: dict[str, float] = {}
    for label, least in (version.thresholds if version else {}).items():
        code = book.current(label)
        if code is not None:
            thresholds[code] = min(thresholds.get(code, 1.0), float(least))
    return thresholds
