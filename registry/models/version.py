"""Versions of a project's model, what they were measured at, and when each served."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from labeling.models import Project


class Version(models.Model):
    """A trained model with everything that says where it came from.

    The artifact is a folder of files in the `artifacts` storage; `manifest` holds each
    file's SHA-256 and size, so that a process can check what it is about to serve.
    """

    class State(models.TextChoices):
        CANDIDATE = "candidate", _("Candidate")
        ACTIVE = "active", _("Active")
        RETIRED = "retired", _("Retired")

    class Gate(models.TextChoices):
        PENDING = "pending", _("Not judged yet")
        PASSED = "passed", _("Passed")
        REFUSED = "refused", _("Refused")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="versions", verbose_name=_("project")
    )
    number = models.PositiveIntegerField(_("version"))
    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.CANDIDATE
    )
    artifact = models.CharField(
        _("artifact"), max_length=200, help_text=_("Folder in the artifact storage.")
    )
    manifest = models.JSONField(
        _("manifest"), help_text=_("{file: {sha256, bytes}} of every file.")
    )
    label_set = models.JSONField(
        _("label set"), help_text=_("Intent codes in the order of the model's outputs.")
    )
    thresholds = models.JSONField(
        _("thresholds"),
        default=dict,
        help_text=_("Per-intent thresholds of a multi-intent model."),
    )
    temperature = models.FloatField(_("temperature"), default=1.0)
    out_of_scope = models.JSONField(
        _("out of scope"),
        default=dict,
        blank=True,
        help_text=_(
            "How the logits say that a question is out of scope: {code, energy, margin,"
            " bias}; empty where the version has no such score."
        ),
    )
    samples = models.JSONField(
        _("sample answers"),
        default=list,
        db_default=[],
        blank=True,
        help_text=_(
            "[{text, logits}] as the exported model answered them; a process that reads"
            " something else from its copy refuses to serve it."
        ),
    )
    parent = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("trained from"),
    )
    provenance = models.JSONField(
        _("provenance"),
        default=dict,
        help_text=_("Dataset digest, recipe, base model, seed, code revision."),
    )
    gate = models.CharField(
        _("gate"), max_length=10, choices=Gate.choices, default=Gate.PENDING
    )
    gate_reasons = models.JSONField(
        _("reasons"),
        default=list,
        help_text=_("[{code, passed, values}], one a rule of the gate."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["project", "-number"]
        verbose_name = _("version")
        verbose_name_plural = _("versions")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "number"], name="version_number_unique_in_project"
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(state="active"),
                name="version_one_active_a_project",
            ),
            models.CheckConstraint(
                name="version_state_known",
                condition=Q(state__in=["candidate", "active", "retired"]),
            ),
            models.CheckConstraint(
                name="version_gate_known",
                condition=Q(gate__in=["pending", "passed", "refused"]),
            ),
            models.CheckConstraint(
                name="version_temperature_positive", condition=Q(temperature__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} v{self.number}"


class Evaluation(models.Model):
    """What a version was measured at, once, on one set of questions."""

    class Kind(models.TextChoices):
        TEST = "test", _("Test questions")
        FILE = "file", _("File")
        AUDIT = "audit", _("Blind audit share")

    version = models.ForeignKey(
        Version,
        models.CASCADE,
        related_name="evaluations",
        verbose_name=_("version"),
    )
    kind = models.CharField(_("measured on"), max_length=8, choices=Kind.choices)
    source = models.CharField(_("source"), max_length=200, blank=True, default="")
    n = models.PositiveIntegerField(_("questions"))
    accuracy = models.FloatField(_("accuracy"), null=True)
    macro_f1 = models.FloatField(_("macro-F1"), null=True)
    metrics = models.JSONField(_("metrics"))
    created_at = models.DateTimeField(_("measured"), auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("evaluation")
        verbose_name_plural = _("evaluations")

    def __str__(self) -> str:
        return f"{self.version} on {self.kind}: {self.n}"


class EvaluationAnswer(models.Model):
    """What a version answered to one question of an evaluation."""

    evaluation = models.ForeignKey(
        Evaluation,
        models.CASCADE,
        related_name="answers",
        verbose_name=_("evaluation"),
        db_index=False,  # the constraint's index serves
    )
    row = models.PositiveIntegerField(_("row"), help_text=_("From 0, as measured."))
    question = models.ForeignKey(
        "labeling.Question",
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("question"),
        help_text=_("Empty for rows of a file."),
    )
    text = models.TextField(_("text"))
    wanted = models.JSONField(_("right intents"), help_text=_("Intent codes, sorted."))
    given = models.JSONField(_("answered"), help_text=_("Intent codes, sorted."))
    confidence = models.FloatField(_("confidence"))
    is_right = models.BooleanField(_("right"))

    class Meta:
        ordering = ["row"]
        verbose_name = _("answer of an evaluation")
        verbose_name_plural = _("answers of evaluations")
        constraints = [
            models.UniqueConstraint(
                fields=["evaluation", "row"], name="evaluation_answer_once"
            ),
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Activation(models.Model):
    """Append-only: who made which version serve, when and why. A trigger refuses
    changes."""

    class Kind(models.TextChoices):
        ACTIVATE = "activate", _("Activation")
        ROLLBACK = "rollback", _("Rollback")

    project = models.ForeignKey(
        Project, models.RESTRICT, related_name="activations", verbose_name=_("project")
    )
    version = models.ForeignKey(
        Version, models.RESTRICT, related_name="activations", verbose_name=_("version")
    )
    previous = models.ForeignKey(
        Version,
        models.RESTRICT,
        null=True,
        related_name="+",
        verbose_name=_("version before"),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    forced = models.BooleanField(_("against the gate"), default=False)
    is_automatic = models.BooleanField(
        _("by itself"),
        default=False,
        db_default=False,
        help_text=_("The guard rolled back, because live answers had become worse."),
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
        verbose_name = _("activation")
        verbose_name_plural = _("activations")
        constraints = [
            models.CheckConstraint(
                name="activation_forced_has_a_reason",
                condition=Q(forced=False) | ~Q(reason=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.version}"
