"""What each serving process says of itself."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ServingProcess(models.Model):
    """A web process that answers classifications; it writes its row once a second."""

    id = models.UUIDField(primary_key=True, editable=False)
    host = models.CharField(_("host"), max_length=120)
    pid = models.PositiveIntegerField(_("process id"))
    started_at = models.DateTimeField(_("started"))
    seen_at = models.DateTimeField(_("last seen"), db_index=True)
    serving = models.JSONField(
        _("serving"),
        default=dict,
        help_text=_(
            "{project id: {version, revision, ready: [versions], failed: [versions], "
            "error}}"
        ),
    )
    stats = models.JSONField(
        _("statistics"),
        default=dict,
        db_default={},
        help_text=_("What the process measured of itself over the last minute."),
    )
    rss_mb = models.FloatField(_("memory in MB"), null=True)

    class Meta:
        ordering = ["host", "pid"]
        verbose_name = _("serving process")
        verbose_name_plural = _("serving processes")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
