"""Who may do what in a project: people by membership, client apps by API key."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project


class Membership(models.Model):
    """A person's role in one project; the roles include each other upwards."""

    class Role(models.TextChoices):
        ANNOTATOR = "annotator", _("Annotator")
        REVIEWER = "reviewer", _("Reviewer")
        MANAGER = "manager", _("Manager")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="memberships",
        verbose_name=_("user"),
    )
    project = models.ForeignKey(
        Project, models.CASCADE, related_name="memberships", verbose_name=_("project")
    )
    role = models.CharField(_("role"), max_length=16, choices=Role.choices)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [
            models.UniqueConstraint(
                fields=["user", "project"], name="membership_one_role_a_project"
            ),
            models.CheckConstraint(
                name="membership_role_known",
                condition=models.Q(role__in=["annotator", "reviewer", "manager"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.project} · {self.get_role_display()}"


class ApiKey(models.Model):
    """A client app's key to one project; only the SHA-256 of the secret is kept."""

    class Scope(models.TextChoices):
        CLASSIFY = "classify", _("Classify")
        LABEL = "label", _("Label")
        MANAGE = "manage", _("Manage")

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="api_keys", verbose_name=_("project")
    )
    name = models.CharField(_("name"), max_length=80)
    scope = models.CharField(_("scope"), max_length=16, choices=Scope.choices)
    prefix = models.CharField(
        _("prefix"), max_length=12, help_text=_("The key's first characters.")
    )
    hash = models.CharField(_("hash"), max_length=64, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="api_keys",
        verbose_name=_("acts as"),
        help_text=_(
            "Labels and changes made with the key are recorded as this user's."
        ),
    )
    rate_limit = models.PositiveIntegerField(
        _("texts a minute"),
        null=True,
        blank=True,
        help_text=_(
            "Most texts that may be classified a minute; empty for the server's own"
            " limit, 0 for none."
        ),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(revoked_at__isnull=True),
                name="api_key_name_unique_while_valid",
            ),
            models.CheckConstraint(
                name="api_key_scope_known",
                condition=models.Q(scope__in=["classify", "label", "manage"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
