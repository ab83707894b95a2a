"""The admin's first page: one project's loop, and what to do next."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.functional import cached_property

from labeling.admin.scoped import memberships
from labeling.models import (
    Intent,
    KeywordRule,
    Membership,
    Project,
    Question,
    Queue,
)
from labeling.reports import audit, counts, progress
from labeling.reports.progress import OpenCount
from registry.models import Activation, Evaluation, LlmDay, Version
from training.models import TrainingBatch
from tuneloop import llm_use, traffic

CHOSEN = "dashboard_project"
"""Session key of the project that the person looked at last."""
COUNT_AT_MOST = counts.AT_MOST
"""Low-confidence questions are counted up to here: nobody labels that many."""
_ROWS = 5

_UNDER_WAY = (TrainingBatch.State.QUEUED, TrainingBatch.State.RUNNING)

Role = Membership.Role


@dataclass
class Standing:
    """Where a project's loop stands; numbers are read when a page asks for them."""

    project: Project
    role: str
    user_id: int

    @property
    def is_manager(self) -> bool:
        """Whether the person may see versions, batches and traffic."""
        return self.role == Role.MANAGER

    @property
    def is_reviewer(self) -> bool:
        """Whether the person settles what others disagree about."""
        return self.role in (Role.REVIEWER, Role.MANAGER)

    @cached_property
    def traffic(self) -> traffic.Traffic:
        """Answers of the last days. One query, and that of `llm`."""
        days = llm_use.DAYS if self._asks_llm else traffic.DAYS
        return traffic.of(self.project, counted=days)

    @cached_property
    def llm(self) -> llm_use.Use | None:
        """The language model's part in them; None where it has none."""
        if not self._asks_llm:
            return None
        return llm_use.Use(self.project, self.traffic.counted, self._llm_days)

    @property
    def _asks_llm(self) -> bool:
        return self.project.llm_fallback or bool(self._llm_days)

    @cached_property
    def _llm_days(self) -> list[LlmDay]:
        return llm_use.spent(self.project)

    @cached_property
    def states(self) -> dict[str, int]:
        """Questions in each state, also of those with none. One query at most."""
        return counts.states(self.project)

    @property
    def states_named(self) -> list[dict[str, Any]]:
        """The same as rows: key, label and n."""
        return [
            {"key": k, "label": Question.State(k).label, "n": n}
            for k, n in self.states.items()
        ]

    @property
    def questions(self) -> int:
        """All questions of the project."""
        return sum(self.states.values())

    @cached_property
    def low_confidence(self) -> int:
        """Open questions with a low-confidence answer, `COUNT_AT_MOST` + 1 at most."""
        return counts.low_confidence(self.project)

    @cached_property
    def missing_labels(self) -> int:
        """Labels until the next training is worth it. Two queries at most."""
        return counts.missing_labels(self.project)

    @property
    def needed_labels(self) -> int:
        """Labels that a training takes in all: fewer for the first."""
        project = self.project
        first, later = project.min_labels_first, project.min_labels_next
        return later if self.newest_version else first

    @property
    def label_progress(self) -> float:
        """How much of them is there, 0 to 1."""
        if not self.missing_labels:
            return 1.0
        return max(0.0, 1 - self.missing_labels / max(1, self.needed_labels))

    @cached_property
    def _versions(self) -> list[Any]:
        measured = Evaluation.objects.filter(
            version=OuterRef("pk"), kind=Evaluation.Kind.TEST
        ).order_by("-id")
        switched = Activation.objects.filter(version=OuterRef("pk")).order_by("-id")
        versions = self.project.versions.order_by("-number")
        wanted = Q(state=Version.State.ACTIVE) | Q(
            number=Subquery(versions.values("number")[:1])
        )
        return list(
            versions.filter(wanted)
            .annotate(
                accuracy=Subquery(measured.values("accuracy")[:1]),
                macro_f1=Subquery(measured.values("macro_f1")[:1]),
                since=Subquery(switched.values("created_at")[:1]),
            )
            .defer("manifest", "provenance", "label_set", "gate_reasons")
        )

    @property
    def newest_version(self) -> Any | None:
        """The version with the largest number. One query, shared with `active`."""
        return self._versions[0] if self._versions else None

    @property
    def refused(self) -> Any | None:
        """The newest version, if the gate did not let it pass and nobody forced it."""
        newest = self.newest_version
        if newest is None or newest.state != Version.State.CANDIDATE:
            return None
        return newest if newest.gate == Version.Gate.REFUSED else None

    @property
    def active(self) -> Any | None:
        """The version that serves, with `accuracy`, `macro_f1` and `since`."""
        active = (v for v in self._versions if v.state == Version.State.ACTIVE)
        return next(active, None)

    @cached_property
    def batches(self) -> list[TrainingBatch]:
        """The last training batches. One query."""
        batches = self.project.batches.select_related("version")
        return list(batches.defer("log", "recipe", "metrics")[:_ROWS])

    @cached_property
    def activations(self) -> list[Activation]:
        """The last activations and roll backs. One query."""
        related = ("version", "previous", "by")
        return list(self.project.activations.select_related(*related)[:_ROWS])

    @cached_property
    def own_labels(self) -> dict[str, int]:
        """The person's own verdicts: today, in seven days, in all. One query."""
        return counts.own_labels(self.project, self.user_id)

    @cached_property
    def accuracy(self) -> audit.Report:
        """How right the answers of what serves are: the active version, or rules alone.

        Two queries at most, and that of `active`.
        """
        version = str(self.active.number) if self.active else ""
        return counts.accuracy(self.project, version=version)

    @property
    def worst_intents(self) -> list[tuple[str, audit.Accuracy]]:
        """The intents that are answered worst, of those with enough blind labels."""
        known = [
            (code, one)
            for code, one in self.accuracy.per_intent.items()
            if one.share is not None
        ]
        return sorted(known, key=lambda item: item[1].share or 0.0)[:_ROWS]

    @property
    def missing_blind(self) -> int:
        """Blind labels that are missing for a first figure."""
        return max(0, audit.LEAST - self.accuracy.overall.n)

    @cached_property
    def _in_review(self) -> dict[str, OpenCount]:
        return progress.waiting(self.project)

    @property
    def disputed(self) -> OpenCount:
        """Questions on which annotators disagree. One query, shared with the next."""
        return self._in_review[Queue.DISPUTED]

    @property
    def suspect(self) -> OpenCount:
        """Labels that are likely wrong."""
        return self._in_review[Queue.SUSPECT]

    @property
    def broken(self) -> OpenCount:
        """Test questions that a new version got wrong."""
        return self._in_review[Queue.BROKEN]

    @cached_property
    def _waiting(self) -> Any:
        intents = Intent.objects.filter(project=OuterRef("pk"), retired_at=None)
        candidates = KeywordRule.objects.filter(
            project=OuterRef("pk"), state=KeywordRule.State.CANDIDATE
        )
        return Project.objects.annotate(
            n_intents=_counted(intents), n_candidates=_counted(candidates)
        ).get(pk=self.project.pk)

    @property
    def intents(self) -> int:
        """Intents in use. One query, shared with `candidate_rules`."""
        return int(self._waiting.n_intents)

    @property
    def candidate_rules(self) -> int:
        """Rules that wait for a manager."""
        return int(self._waiting.n_candidates)

    @property
    def next_step(self) -> str:
        """What moves the loop on: a word that the template puts into a sentence."""
        newest, batch = self.newest_version, next(iter(self.batches), None)
        if not self.intents:
            return "intents" if self.is_manager else "wait"
        if not self.questions:
            return "import" if self.is_manager else "wait"
        if not self.is_manager:
            return "label" if self.states[Question.State.OPEN] else "rest"
        if batch and batch.state in _UNDER_WAY:
            return "batch"
        if newest and newest.state == Version.State.CANDIDATE:
            if newest.gate == Version.Gate.PASSED:
                return "activate"
            if not self.active:
                return "look"  # nothing serves but rules: a person should decide
        if not self.missing_labels:
            return "train"
        if self.states[Question.State.OPEN]:
            return "label"
        return "rest" if self.active else "import"


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds the chosen project's standing to the first page; unfold calls this.

    The choice is kept in the session. Cost: at most 21 queries, sign-in included; what
    grows with the questions is bounded or remembered: see `labeling.reports.counts`.
    """
    projects = _projects(request)
    standing = _chosen(request, projects)
    context |= {
        "projects": [one.project for one in projects],
        "standing": standing,
        "may_add_project": request.user.has_perm("labeling.add_project"),
        "count_at_most": COUNT_AT_MOST,
    }
    return context


def looked_at(request: HttpRequest) -> Standing | None:
    """The project of the page's address, else the one that was looked at last.

    Cost: one query a request, none where the memberships were read already.
    """
    cached: list[Standing | None] = request.__dict__.setdefault("_looked_at", [])
    if not cached:
        projects = _projects(request)
        match = request.resolver_match
        slug = match.kwargs.get("slug") if match else None
        here = (one for one in projects if one.project.slug == slug)
        cached.append(next(here, None) or _chosen(request, projects))
    return cached[0]


def _projects(request: HttpRequest) -> list[Standing]:
    user_id = int(request.user.pk or 0)
    if request.user.is_superuser:
        projects = Project.objects.order_by("name")
        return [Standing(project, Role.MANAGER, user_id) for project in projects]
    return [
        Standing(member.project, member.role, user_id)
        for member in memberships(request)
    ]


def _chosen(request: HttpRequest, projects: list[Standing]) -> Standing | None:
    by_slug = {one.project.slug: one for one in projects}
    asked = request.GET.get("project")
    if asked in by_slug:
        request.session[CHOSEN] = asked
    chosen = by_slug.get(str(asked)) or by_slug.get(request.session.get(CHOSEN, ""))
    return chosen or next(iter(projects), None)


def _counted(rows: QuerySet[Any]) -> Any:
    """A subquery that counts rows."""
    counted = rows.order_by().values("project").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
