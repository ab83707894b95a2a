"""The texts of questions once more, folded and narrow, so that a search reads fast."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.project import Project
from labeling.models.question import Question


class SearchText(models.Model):
    """A question's text as the search compares it.

    A search for any part of a text reads all of them. Here that is 100 bytes a
    question and not a row of a kilobyte that each answer rewrites: a million in a few
    tenths of a second. A trigger on questions writes the rows, whoever makes a
    question; without constraints to the other tables, which would cost an import more
    than the row itself.
    """

    question = models.OneToOneField(
        Question,
        models.CASCADE,
        primary_key=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("question"),
    )
    project = models.ForeignKey(
        Project,
        models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("project"),
    )
    folded = models.TextField(_("text"), db_collation="C")

    class Meta:
        verbose_name = _("text to search")
        verbose_name_plural = _("texts to search")
        indexes = [
            # Newest first: a search that finds enough stops early.
            models.Index(fields=["project", "-question"], name="search_text_newest"),
        ]

    def __str__(self) -> str:
        return self.folded[:80]
