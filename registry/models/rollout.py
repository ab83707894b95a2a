"""Candidates beside the active version: on live traffic, over the log, and undone."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models import Project, Question
from registry.models.version import Activation, Version

_SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class Rollout(models.Model):
    """A version on a share of live traffic: in shadow, or as a canary.

    The counts are kept with each batch that is written, so that reading them costs
    nothing however many answers there are.
    """

    class Mode(models.TextChoices):
        SHADOW = "shadow", _("Shadow")
        CANARY = "canary", _("Canary")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="rollouts", verbose_name=_("project")
    )
    version = models.ForeignKey(
        Version, models.CASCADE, related_name="rollouts", verbose_name=_("version")
    )
    baseline = models.ForeignKey(
        Version,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("active version"),
        help_text=_("What it is compared with; empty for rules alone."),
    )
    mode = models.CharField(_("mode"), max_length=8, choices=Mode.choices)
    share = models.FloatField(
        _("share of the traffic"),
        validators=[MinValueValidator(0.001), MaxValueValidator(1.0)],
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("started by"),
    )
    started_at = models.DateTimeField(_("started"), auto_now_add=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("ended by"),
    )
    end_reason = models.TextField(_("why it ended"), blank=True, default="")
    compared = models.PositiveBigIntegerField(_("compared"), default=0)
    agreed = models.PositiveBigIntegerField(_("agreed"), default=0)
    dropped = models.PositiveBigIntegerField(
        _("left out"),
        default=0,
        help_text=_("Questions that came faster than the shadow could answer."),
    )
    failed = models.PositiveBigIntegerField(
        _("failed"),
        default=0,
        help_text=_("Questions that the version could not answer."),
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = _("rollout")
        verbose_name_plural = _("rollouts")
        constraints = [
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(ended_at=None),
                name="rollout_one_running_a_project",
            ),
            models.CheckConstraint(
                name="rollout_mode_known", condition=Q(mode__in=["shadow", "canary"])
            ),
            models.CheckConstraint(
                name="rollout_share_above_0_to_1",
                condition=Q(share__gt=0) & Q(share__lte=1),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.get_mode_display()}"


class ShadowAnswer(models.Model):
    """What a version in shadow would have answered to one logged request."""

    rollout = models.ForeignKey(
        Rollout, models.CASCADE, related_name="answers", verbose_name=_("rollout")
    )
    request_id = models.UUIDField(_("request id"))
    text = models.TextField(_("text"))
    active_codes = models.JSONField(_("the active version's answer"))
    active_confidence = models.FloatField(_("the active version's confidence"))
    active_latency_ms = models.FloatField(_("the active version's latency in ms"))
    codes = models.JSONField(_("answer"), help_text=_("Intent codes, sorted."))
    confidence = models.FloatField(_("confidence"))
    method = models.CharField(_("method"), max_length=16)
    latency_ms = models.FloatField(
        _("latency in ms"), help_text=_("The batch's time through its texts.")
    )
    agrees = models.BooleanField(_("agrees"))
    created_at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        verbose_name = _("shadow answer")
        verbose_name_plural = _("shadow answers")
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "request_id"], name="shadow_answer_once_a_request"
            ),
        ]
        indexes = [
            models.Index(fields=["rollout", "-id"], name="shadow_answer_newest"),
            models.Index(
                fields=["rollout", "-id"],
                condition=Q(agrees=False),
                name="shadow_answer_disagreements",
            ),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Replay(models.Model):
    """A challenger and the active version on the questions of logged traffic.

    The row says all about it: the queue knows only its id, and a worker that died
    leaves `beat_at` behind, by which the sweep finds it.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="replays", verbose_name=_("project")
    )
    version = models.ForeignKey(
        Version, models.CASCADE, related_name="replays", verbose_name=_("version")
    )
    baseline = models.ForeignKey(
        Version,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("active version"),
        help_text=_("What it is compared with; empty for rules alone."),
    )
    requests = models.PositiveIntegerField(
        _("requests"), help_text=_("Of the log, the newest first, at most.")
    )
    state = models.CharField(
        _("state"), max_length=8, choices=State.choices, default=State.QUEUED
    )
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    beat_at = models.DateTimeField(_("sign of life"), null=True)
    texts = models.PositiveIntegerField(
        _("questions"), default=0, help_text=_("Different texts among the requests.")
    )
    done = models.PositiveIntegerField(_("answered"), default=0)
    flipped = models.PositiveIntegerField(_("changed"), default=0)
    figures = models.JSONField(
        _("figures"), default=dict, help_text=_("Counted by request, of both sides.")
    )
    message = models.TextField(_("message"), blank=True, default="")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("asked for"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("replay")
        verbose_name_plural = _("replays")
        constraints = [
            models.CheckConstraint(
                name="replay_state_known",
                condition=Q(state__in=["queued", "running", "done", "failed"]),
            ),
            models.UniqueConstraint(
                fields=["version"],
                condition=Q(state__in=["queued", "running"]),
                name="replay_one_open_a_version",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.created_at:%Y-%m-%d %H:%M}"


class Flip(models.Model):
    """A question that a replayed version answers differently."""

    replay = models.ForeignKey(
        Replay, models.CASCADE, related_name="flips", verbose_name=_("replay")
    )
    question = models.ForeignKey(
        Question,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("question"),
    )
    text = models.TextField(_("text"))
    requests = models.PositiveIntegerField(_("requests"))
    before = models.JSONField(_("before"), help_text=_("Intent codes, sorted."))
    after = models.JSONField(_("after"), help_text=_("Intent codes, sorted."))
    confidence_before = models.FloatField(_("confidence before"))
    confidence_after = models.FloatField(_("confidence after"))
    wanted = models.JSONField(
        _("right intents"),
        null=True,
        help_text=_("Intent codes, sorted; empty where nobody has labelled it."),
    )

    class Meta:
        ordering = ["-requests", "id"]
        verbose_name = _("changed answer")
        verbose_name_plural = _("changed answers")
        indexes = [
            models.Index(fields=["replay", "-requests", "id"], name="flip_by_requests"),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Tuning(models.Model):
    """A change of a project's thresholds and weights; only ever added.

    An undo is a change of its own, which names what it undoes.
    """

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="tunings", verbose_name=_("project")
    )
    number = models.PositiveIntegerField(_("number"))
    before = models.JSONField(_("before"), help_text=_("{setting: value}"))
    after = models.JSONField(_("after"), help_text=_("{setting: value}"))
    preview = models.JSONField(
        _("preview"),
        default=dict,
        help_text=_("What the change was seen to do to logged answers."),
    )
    undoes = models.OneToOneField(
        "self",
        models.CASCADE,
        null=True,
        related_name="undone_by",
        verbose_name=_("undoes"),
    )
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("by"),
    )
    reason = models.TextField(_("reason"), blank=True, default="")
    created_at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("change of thresholds and weights")
        verbose_name_plural = _("changes of thresholds and weights")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "number"], name="tuning_number_unique_in_project"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} #{self.number}"


class Guard(models.Model):
    """When live answers are so much worse that a version is rolled back by itself.

    A project without a row is guarded by the defaults.
    """

    project = models.OneToOneField(
        Project,
        models.CASCADE,
        primary_key=True,
        related_name="guard",
        verbose_name=_("project"),
    )
    is_on = models.BooleanField(_("roll back by itself"), default=True)
    rise = models.FloatField(
        _("tolerated rise"),
        default=0.1,
        validators=_SHARE,
        help_text=_(
            "How far the share of answers below the low confidence, or of those that"
            " the version could not give, may rise after an activation."
        ),
    )
    least = models.PositiveIntegerField(
        _("least answers"),
        default=50,
        validators=[MinValueValidator(20)],
        help_text=_("Nothing is decided on fewer, before or after the activation."),
    )

    class Meta:
        verbose_name = _("guard")
        verbose_name_plural = _("guards")
        constraints = [
            models.CheckConstraint(
                name="guard_rise_between_0_and_1", condition=Q(rise__range=(0, 1))
            ),
        ]

    def __str__(self) -> str:
        return str(self.project)


class Alarm(models.Model):
    """What the guard found and did; shown until a manager has read it.

    One row an activation, at most: the guard never acts on the same one twice.
    """

    class Measure(models.TextChoices):
        LOW_CONFIDENCE = "low_confidence", _("Low confidence")
        DEGRADED = "degraded", _("Could not answer")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="alarms", verbose_name=_("project")
    )
    activation = models.OneToOneField(
        Activation,
        models.CASCADE,
        null=True,
        related_name="alarm",
        verbose_name=_("activation"),
        help_text=_("What made things worse; empty for a canary."),
    )
    rollout = models.OneToOneField(
        Rollout,
        models.CASCADE,
        null=True,
        related_name="alarm",
        verbose_name=_("canary"),
        help_text=_("What made things worse; empty for an activation."),
    )
    rollback = models.ForeignKey(
        Activation,
        models.CASCADE,
        null=True,
        related_name="alarms_behind",
        verbose_name=_("rollback"),
        help_text=_("Empty where no version could be gone back to."),
    )
    measure = models.CharField(_("measure"), max_length=16, choices=Measure.choices)
    before = models.FloatField(_("before"))
    after = models.FloatField(_("after"))
    n_before = models.PositiveIntegerField(_("answers before"))
    n_after = models.PositiveIntegerField(_("answers after"))
    problem = models.TextField(
        _("problem"),
        blank=True,
        default="",
        help_text=_("Why it could not be rolled back."),
    )
    created_at = models.DateTimeField(_("at"), auto_now_add=True)
    notified_at = models.DateTimeField(_("sent"), null=True)
    read_at = models.DateTimeField(_("read"), null=True)
    read_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("read by"),
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = _("alarm")
        verbose_name_plural = _("alarms")
        constraints = [
            models.CheckConstraint(
                name="alarm_of_an_activation_or_a_canary",
                condition=Q(activation=None, rollout__isnull=False)
                | Q(activation__isnull=False, rollout=None),
            ),
        ]
        indexes = [
            models.Index(
                fields=["project"], condition=Q(read_at=None), name="alarm_unread"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project}: {self.get_measure_display()}"
