"""How far the work behind a project's labelling queue is."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models import Project


class Refresh(models.Model):
    """Bookkeeping of `registry.refresh`: where the next run goes on."""

    project = models.OneToOneField(
        Project,
        models.CASCADE,
        primary_key=True,
        related_name="refresh",
        verbose_name=_("project"),
    )
    version = models.CharField(
        _("version"),
        max_length=20,
        blank=True,
        default="",
        help_text=_("Number of the version that the work is done for."),
    )
    began_at = models.DateTimeField(_("begun"))
    ran_at = models.DateTimeField(_("last run"))
    predicted = models.PositiveIntegerField(
        _("answered anew"), default=0, help_text=_("Questions since it began.")
    )
    embedded = models.PositiveIntegerField(
        _("embedded"), default=0, help_text=_("Questions since it began.")
    )
    unplaced = models.JSONField(
        _("unplaced"),
        default=list,
        help_text=_(
            "Ids of questions whose near-duplicates are still to be looked for."
        ),
    )
    is_ranked = models.BooleanField(
        _("ranked"),
        default=False,
        help_text=_("Diversity and need are those of today."),
    )
    rescored_to = models.BigIntegerField(
        _("rescored down to"),
        null=True,
        help_text=_("Id of the question at which the renewal of priorities goes on."),
    )
    is_done = models.BooleanField(_("done"), default=False)

    class Meta:
        verbose_name = _("refresh")
        verbose_name_plural = _("refreshes")

    def __str__(self) -> str:
        return f"{self.project}: {self.version or '–'}"
