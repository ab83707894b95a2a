"""Labels of an import resolved to intents: codes, aliases, and intents to be made."""

from collections.abc import Sequence

from django.utils.translation import gettext as _

from labeling import revision
from labeling.intake.checks import code_problem
from labeling.models import Intent, IntentAlias, Project

FALLBACK_CODES = frozenset({"oos", "out_of_scope", "none"})
"""A new intent with one of these codes becomes the fallback of a project without."""


class CodeProblem(ValueError):
    """Labels that can't be taken; the message is the reason, as a phrase."""


class CodeBook:
    """A project's intents by code and alias, read once for a whole import."""

    def __init__(self, project: Project, *, create: bool) -> None:
        """Three queries.

        Args:
            project: Whose intents they are.
            create: Whether unknown codes become intents.
        """
        self._project = project
        self._create = create
        self._ids: dict[str, int] = {}
        self._retired: set[str] = set()
        self._canonical: dict[str, str] = {}
        self._resolved: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._arrays: dict[tuple[str, ...], str] = {}
        self._fallback: str | None = None
        self.pending: list[str] = []
        """Codes that `create_pending` will make intents of."""
        self.created: list[str] = []
        """Codes that it has made intents of."""
        self.created_fallback: str | None = None
        self._read()

    def resolve(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The intents' present codes: sorted, aliases resolved, each once.

        With `create`, unknown codes are put down as pending.

        Raises:
            CodeProblem: An unknown, retired or unfit code, or several intents where a
                question has one.
        """
        key = tuple(labels)
        known = self._resolved.get(key)
        if known is None:
            known = self._resolved[key] = self._resolve(key)
        return known

    def ids(self, codes: tuple[str, ...]) -> str:
        """The intents' ids as a PostgreSQL array, ascending: `{3,17}`.

        Pending intents, which have no id yet, count as negative ones.
        """
        array = self._arrays.get(codes)
        if array is None:
            ids = sorted(
                self._ids[c] if c in self._ids else -1 - self.pending.index(c)
                for c in codes
            )
            array = self._arrays[codes] = "{" + ",".join(map(str, ids)) + "}"
        return array

    @property
    def pending_fallback(self) -> str | None:
        """The pending code that will become the fallback."""
        return self._fallback if self._fallback in self.pending else None

    def create_pending(self) -> None:
        """Makes the pending intents, in the caller's transaction.

        Two statements, none if nothing is pending. An intent that somebody else made
        meanwhile is used as it is.
        """
        if not self.pending:
            return
        fallback = self.pending_fallback
        Intent.objects.bulk_create(
            [
                Intent(
                    project=self._project,
                    code=code,
                    name=code,
                    is_fallback=code == fallback,
                )
                for code in self.pending
            ],
            ignore_conflicts=True,
        )
        if fallback is not None:
            self.created_fallback = fallback
            revision.bump(self._project.pk)
        self.created.extend(self.pending)
        self.pending.clear()
        self._arrays.clear()
        self._read()

    def refresh(self) -> bool:
        """Reads the intents again if the label set changed since; says whether it did.

        One query, two more after a change. Codes that were resolved before must be
        resolved again then: their intents may have been merged, renamed or retired.
        """
        revision = self._revision_now()
        if revision == self._revision:
            return False
        for known in (self._ids, self._canonical, self._resolved, self._arrays):
            known.clear()
        self._retired.clear()
        self._fallback = None
        self.pending.clear()
        self._read()
        return True

    def _revision_now(self) -> int:
        return Project.objects.values_list("serving_revision", flat=True).get(
            pk=self._project.pk
        )

    def _read(self) -> None:
        # First: what is read after it is as new or newer, never older.
        self._revision = self._revision_now()
        intents = Intent.objects.filter(project=self._project)
        for id_, code, is_fallback, retired_at in intents.values_list(
            "id", "code", "is_fallback", "retired_at"
        ):
            self._canonical[code] = code
            self._ids[code] = id_
            if retired_at is not None:
                self._retired.add(code)
            elif is_fallback:
                self._fallback = code
        aliases = IntentAlias.objects.filter(project=self._project)
        for alias, code in aliases.values_list("code", "intent__code"):
            self._canonical.setdefault(alias, code)

    def _resolve(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        codes = sorted({self._canonical.get(label, label) for label in labels})
        unknown = [code for code in codes if code not in self._canonical]
        for code in codes:
            self._check(code)
        if not codes and self._fallback is not None:
            codes = [self._fallback]
        if not self._project.is_multi_intent and len(codes) != 1:
            raise CodeProblem(
                _("%(n)s labels, but a question of this project has one intent")
                % {"n": len(codes)}
            )
        for code in unknown:
            self._canonical[code] = code
            self.pending.append(code)
            if code in FALLBACK_CODES and self._fallback is None:
                self._fallback = code
        return tuple(codes)

    def _check(self, code: str) -> None:
        if code in self._retired:
            raise CodeProblem(_("the intent “%(code)s” is retired") % {"code": code})
        if code in self._canonical:
            return
        if not self._create:
            raise CodeProblem(_("unknown intent “%(code)s”") % {"code": code[:100]})
        problem = code_problem(code)
        if problem is not None:
            raise CodeProblem(problem)
