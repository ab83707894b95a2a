"""Versions: registered, activated, rolled back; each switch leaves an audit row."""

import logging
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from labeling import revision
from labeling.models import Project
from registry import artifacts, queueing
from registry.models import Activation, Version
from registry.serving import announce

_logger = logging.getLogger(__name__)


class VersionError(Exception):
    """What was asked of a version can't be done; the message is a sentence.

    `code` is stable: the API answers with it.
    """

    code = "version_refused"


class GateRefused(VersionError):
    """The version did not pass the gate, and nobody forced it with a reason."""

    code = "gate_refused"


class ReasonMissing(VersionError):
    """Whoever goes against the gate says why."""

    code = "reason_missing"


class AlreadyActive(VersionError):
    """The version serves already; nothing was changed."""

    code = "already_active"


class NothingToRollBack(VersionError):
    """No version served before the active one."""

    code = "nothing_to_roll_back"


class Overtaken(VersionError):
    """What was to be undone is undone already, or something came after it."""

    code = "overtaken"


def active(project: Project) -> Version | None:
    """The version that serves, if there is one. One query."""
    return project.versions.filter(state=Version.State.ACTIVE).first()


def register(
    project: Project,
    *,
    folder: Path | artifacts.Stored,
    label_set: list[str],
    parent: Version | None,
    provenance: dict[str, Any],
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
    out_of_scope: dict[str, Any] | None = None,
) -> Version:
    """Takes an exported folder in as the project's next version, a candidate.

    Args:
        project: Whose version it becomes.
        folder: See `artifacts.write`; its files are linked or copied. What is stored
            already, under a name from `new_artifact`, is taken as it is, and stays the
            caller's if this fails.
        label_set: Intent codes in the order of the model's outputs.
        parent: The version that training started from.
        provenance: Dataset digest, recipe, base model, seed, code revision.
        temperature: Divides the logits before they become probabilities.
        thresholds: Per-intent thresholds of a multi-intent model, 0 to 1.
        out_of_scope: {code, energy, margin, bias}, see `registry.onnx.reading`.

    Raises:
        artifacts.ArtifactError: The folder can't be a version.
    """
    # The files first: a version must never be seen without them.
    if isinstance(folder, Path):
        name, manifest = artifacts.write(folder, new_artifact(project))
    else:
        name, manifest = folder
    try:
        kept = Version(artifact=name, manifest=manifest)
        samples = _samples(kept, folder if isinstance(folder, Path) else None)
        with transaction.atomic():
            _lock(project)
            return Version.objects.create(
                project=project,
                samples=samples,
                number=_next_number(project),
                artifact=name,
                manifest=manifest,
                label_set=list(label_set),
                thresholds=thresholds or {},
                temperature=temperature,
                out_of_scope=out_of_scope or {},
                parent=parent,
                provenance=provenance,
            )
    except BaseException:
        if isinstance(folder, Path):
            artifacts.discard(name)
        raise


def _samples(version: Version, folder: Path | None) -> list[dict[str, Any]]:
    """What the served model answers to a few fixed texts; see `registry.onnx.samples`.

    Nothing for a model that can't be opened: whoever serves it says so. Takes 1 to 2 s.
    """
    from registry.onnx import samples, session

    needed = artifacts.served_files(version)
    try:
        if folder is None:
            folder = artifacts.open_verified(version, only=needed)
        return samples.record(session.OnnxClassifier(folder, file_name=needed[0]))
    except (artifacts.ArtifactError, session.ArtifactError) as error:
        _logger.warning("%s: no sample answers: %s", version.artifact, error)
        return []


def new_artifact(project: Project) -> str:
    """A name for the files of the project's next version. One query.

    The number in it is a guess, right unless somebody registers at the same time.
    """
    return artifacts.new_name(project, _next_number(project))


def activate(
    version: Version, *, by: User | None, reason: str = "", force: bool = False
) -> Activation:
    """Makes a version serve; the one before it retires.

    Serving processes load it first (see `announce.prepare`, at most 5 s), so that the
    switch itself keeps no request waiting.

    Args:
        version: Any version of the project that is not active.
        by: Who activates, for the audit.
        reason: Why; needed against the gate.
        force: Activate although the gate refused it or has not judged it.

    Raises:
        GateRefused: The gate has not passed it, and `force` is not set.
        ReasonMissing: `force` without a reason.
        AlreadyActive: It serves already.
        artifacts.ArtifactError: Its files are missing or damaged.
    """
    reason = reason.strip()
    _check_gate(version, force=force, reason=reason)
    announce.prepare(version)
    with transaction.atomic():
        _lock(version.project)
        version.refresh_from_db()
        forced = _check_gate(version, force=force, reason=reason)
        if version.state == Version.State.ACTIVE:
            raise AlreadyActive(
                _("%(version)s is active already.") % {"version": version}
            )
        return _switch(
            version,
            kind=Activation.Kind.ACTIVATE,
            forced=forced,
            by=by,
            reason=reason,
        )


def roll_back(
    project: Project,
    *,
    by: User | None,
    reason: str = "",
    is_automatic: bool = False,
    only_from: Activation | None = None,
) -> Activation:
    """Makes the version serve that was active before the current one.

    Works like undo: after activating 1, 2 and 3, a roll back leads to 2 and a second
    one to 1, never forward to the 3 that was just left. No gate: it served before.

    Args:
        project: Whose.
        by: Who rolls back, for the audit.
        reason: Why.
        is_automatic: Whether the guard does, and no person.
        only_from: The switch to be undone; nothing is done if another one came after.

    Raises:
        Overtaken: `only_from` is not the latest switch any more.
        NothingToRollBack: There was none before the current version.
        artifacts.ArtifactError: The earlier version's files are missing or damaged.
    """
    announce.prepare(version_before(project))
    with transaction.atomic():
        _lock(project)
        if only_from not in (None, project.activations.order_by("-id").first()):
            raise Overtaken(
                _("Another version of %(project)s was made to serve meanwhile.")
                % {"project": project}
            )
        # Asked again under the lock: of two roll backs at once, each goes one step.
        return _switch(
            version_before(project),
            kind=Activation.Kind.ROLLBACK,
            forced=False,
            by=by,
            reason=reason.strip(),
            is_automatic=is_automatic,
        )


def _lock(project: Project) -> None:
    # NO KEY: requests being logged refer to the project's row and must not wait.
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)


def _next_number(project: Project) -> int:
    latest = project.versions.aggregate(latest=Max("number"))["latest"]
    return (latest or 0) + 1


def _check_gate(version: Version, *, force: bool, reason: str) -> bool:
    """Whether the activation goes against the gate; raises where it may not."""
    if version.gate == Version.Gate.PASSED:
        return False
    if not force:
        raise GateRefused(
            _("The gate refused %(version)s.") % {"version": version}
            if version.gate == Version.Gate.REFUSED
            else _("%(version)s has not been judged yet.") % {"version": version}
        )
    if not reason:
        raise ReasonMissing(_("Say why you activate it against the gate."))
    return True


def version_before(project: Project) -> Version:
    """The version that a roll back leads to. Two queries.

    Replays the audit as a stack: an activation pushes, a roll back pops.

    Raises:
        NothingToRollBack: There is none.
    """
    served: list[int] = []
    audit = project.activations.order_by("id").values_list("kind", "version_id")
    for kind, version_id in audit:
        if kind == Activation.Kind.ROLLBACK:
            served.pop()
        else:
            served.append(version_id)
    if len(served) < 2:
        raise NothingToRollBack(
            _("No version of %(project)s served before this one.")
            % {"project": project}
        )
    return project.versions.get(pk=served[-2])


def _switch(
    version: Version,
    *,
    kind: str,
    forced: bool,
    by: User | None,
    reason: str,
    is_automatic: bool = False,
) -> Activation:
    """Under the project's lock: states, audit row, revision; ends a rollout."""
    previous = active(version.project)
    if previous is not None:
        previous.state = Version.State.RETIRED
        previous.save(update_fields=["state"])
    version.state = Version.State.ACTIVE
    version.save(update_fields=["state"])
    activation = Activation.objects.create(
        project=version.project,
        version=version,
        previous=previous,
        kind=kind,
        forced=forced,
        by=by,
        reason=reason,
        is_automatic=is_automatic,
    )
    # What it was compared with serves no more.
    version.project.rollouts.filter(ended_at=None).update(
        ended_at=Now(), ended_by=by, end_reason=str(activation)
    )
    revision.bump(version.project_id)
    queueing.refresh_on_commit(version.project_id)
    return activation
