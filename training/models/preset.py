"""Recipes that a team has named."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Preset(models.Model):
    """A recipe under a name of its own, beside the built-in ones.

    A batch copies the recipe when it is made: a later change of the preset changes no
    batch.
    """

    name = models.SlugField(
        _("name"),
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z]", _("Begins with a small letter."))],
    )
    built_on = models.CharField(
        _("built on"),
        max_length=40,
        help_text=_("The built-in preset whose way of training it takes."),
    )
    description = models.TextField(_("description"), blank=True, default="")
    recipe = models.JSONField(_("recipe"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("preset")
        verbose_name_plural = _("presets")

    def __str__(self) -> str:
        return self.name
