"""A project's running rollout: who starts it and who ends it."""

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from labeling import revision
from labeling.models import Project
from registry import artifacts, versions
from registry.models import Rollout, Version


class RolloutError(Exception):
    """What was asked of a rollout can't be done; the message is a sentence."""


def in_project(project: Project) -> Rollout | None:
    """The rollout that runs in a project. One query."""
    return project.rollouts.filter(ended_at=None).select_related("version").first()


def start(version: Version, *, mode: str, share: float, by: User | None) -> Rollout:
    """Puts a version on a share of its project's live traffic.

    Args:
        version: Any version of the project that is not active.
        mode: In shadow its answers are logged and never given; as a canary it answers.
        share: Of the requests, above 0, to 1.
        by: Who starts it.

    Raises:
        RolloutError: It is active, another rollout runs in the project, or the gate
            has not passed what users would get answers of.
        artifacts.ArtifactError: Its files are missing or damaged.
    """
    if not 0 < share <= 1:
        raise RolloutError(_("The share lies above 0 and goes to 100 %."))
    artifacts.open_verified(version, only=artifacts.served_files(version))
    baseline = versions.active(version.project)
    if baseline == version:
        raise RolloutError(_("%(version)s is active already.") % {"version": version})
    if mode == Rollout.Mode.CANARY and version.gate != Version.Gate.PASSED:
        raise RolloutError(
            _("The gate has not passed %(version)s: users must not get its answers.")
            % {"version": version}
        )
    try:
        with transaction.atomic():
            started = Rollout.objects.create(
                project=version.project,
                version=version,
                baseline=baseline,
                mode=Rollout.Mode(mode),
                share=share,
                started_by=by,
            )
            revision.bump(version.project_id)
    except IntegrityError as error:
        if "rollout_one_running_a_project" not in str(error):
            raise
        raise RolloutError(
            _("A rollout runs in %(project)s already; end it first.")
            % {"project": version.project}
        ) from error
    return started


@transaction.atomic
def end(rollout: Rollout, *, by: User | None, reason: str = "") -> bool:
    """Ends a rollout; False where somebody else has.

    Requests that are under way finish on the version that they started with.
    """
    running = Rollout.objects.filter(pk=rollout.pk, ended_at=None)
    ended = running.update(ended_at=Now(), ended_by=by, end_reason=reason.strip())
    if ended:
        revision.bump(rollout.project_id)
    return bool(ended)
