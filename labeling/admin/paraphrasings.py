"""Admin pages of paraphrasings: what was sent where, and how far it is."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from labeling import background, growth
from labeling.admin import cells, runs
from labeling.admin.growing import reasons
from labeling.admin.scoped import ProjectFilter
from labeling.models import Paraphrasing

State = Paraphrasing.State


@admin.register(Paraphrasing)
class ParaphrasingAdmin(runs.RunAdmin):
    """Who sent how many questions where, and what came of it."""

    list_display = ("at", "where", "project", "status", "sent_of", "made", "by")
    list_filter = (ProjectFilter, ("state", ChoicesDropdownFilter))
    list_before_template = "admin/labeling/growth/paraphrasings_before.html"
    page_template = "admin/labeling/growth/paraphrasing.html"
    live_template = "admin/labeling/growth/paraphrasing_live.html"

    @display(description=_("language model"))
    def where(self, obj: Paraphrasing) -> SafeString:
        return format_html(
            '{} <span class="tl-quiet">{}</span>', cells.codes([obj.model]), obj.server
        )

    @display(description=_("questions sent"))
    def sent_of(self, obj: Paraphrasing) -> str:
        sent = number_format(obj.sent, force_grouping=True)
        return f"{sent} / {number_format(len(obj.questions), force_grouping=True)}"

    def shown(self, run: Paraphrasing) -> dict[str, Any]:
        total = len(run.questions)
        return {
            "run": run,
            "status": runs.badge(run),
            "total": total,
            "share": 100 * run.sent / total if total else 0,
            "is_open": run.state in (State.QUEUED, State.RUNNING),
            "workers": background.workers() if run.state == State.QUEUED else 1,
            "left_out": reasons(run.left_out),
        }

    def end(self, run: Paraphrasing, *, by: User) -> str:
        try:
            growth.cancel(run)
        except growth.WrongState as error:
            return str(error)
        return ""
