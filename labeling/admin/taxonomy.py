"""Pages that change a label set: a form, a preview of what it touches, a confirmation.

Each page is one address. A POST shows the preview, and with `confirm` it does what the
preview showed; `back` leads to the form again, with what was typed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from labeling import taxonomy
from labeling.admin.scoped import Role, ScopedAdmin, project_ids, signed_in
from labeling.admin.taxonomy_forms import (
    MAX_PARTS,
    MergeForm,
    RenameForm,
    SplitForm,
    parts_of,
    typed_parts,
)
from labeling.models import Intent, Question
from labeling.taxonomy import TaxonomyChanged

EXAMPLES = 20
"""Labelled questions that the page of a split shows to choose from."""


class TaxonomyPages(ScopedAdmin):
    """Rename, merge, split and retire intents; for managers of their project."""

    actions_detail = (
        "rename_page",
        "merge_page",
        "split_page",
        "retire_page",
        "restore_page",
    )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("merge/", view(self.merge_view), name="labeling_intent_merge"),
            path("retire/", view(self.retire_view), name="labeling_intent_retire"),
        ]
        return [*own, *super().get_urls()]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        intent = self.get_object(request, str(object_id))
        if intent is None or not self.has_change_permission(request, intent):
            return []
        useless = {"retire_page"} if intent.retired_at else {"restore_page"}
        if intent.retired_at:
            useless |= {"split_page"}
        if intent.is_fallback:
            useless |= {"retire_page", "merge_page"}
        return [
            one
            for one in super().get_actions_detail(request, object_id)
            if not any(one.action_name.endswith(name) for name in useless)
        ]

    @action(description=_("Rename"), url_path="rename", icon="edit")
    def rename_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A new code; the old one stays known."""
        intent = self._intent(request, object_id)
        form = RenameForm(request.POST or None, initial={"code": intent.code})
        title = gettext("Rename %(code)s") % {"code": intent.code}
        context = {"intent": intent, "form": form, "title": title}
        if not form.is_valid() or "back" in request.POST:
            return self._page(request, "rename.html", context)
        code = form.cleaned_data["code"]
        if "confirm" in request.POST:
            renamed = self._done(
                request,
                form,
                lambda: taxonomy.rename(intent, code=code, by=signed_in(request)),
                _("%(old)s is now %(new)s. Clients may go on sending the old code.")
                % {"old": intent.code, "new": code},
            )
            return renamed or self._page(request, "rename.html", context)
        try:
            taxonomy.check_code(
                Intent(pk=intent.pk, project_id=intent.project_id, code=code)
            )
        except ValidationError as error:
            form.add_error("code", error.messages[0])
            return self._page(request, "rename.html", context)
        context |= {"moved": taxonomy.impact_of([intent]), "code": code}
        return self._page(request, "rename_preview.html", context)

    @action(description=_("Merge"), url_path="merge", icon="merge")
    def merge_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Leads to the page that merges this intent into another."""
        return redirect(self.merge_url([self._intent(request, object_id).pk]))

    @action(description=_("Split"), url_path="split", icon="call_split")
    def split_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Parts, told by keywords and examples; the old code goes to one of them."""
        intent = self._intent(request, object_id)
        posted = request.POST or None
        form = SplitForm(posted, initial={"heir": 0})
        is_typing = posted is not None and ("back" in posted or "more" in posted)
        parts = (
            typed_parts(intent, posted, more=int("more" in request.POST))
            if is_typing
            else parts_of(intent, posted)
        )
        title = gettext("Split %(code)s") % {"code": intent.code}
        context = {"intent": intent, "form": form, "parts": parts, "title": title}
        context["may_add"] = parts.total_form_count() < MAX_PARTS
        if posted is None or is_typing:
            return self._split_form(request, context)
        if not (parts.is_valid() and form.is_valid()):
            return self._split_form(request, context)
        chosen = [one.part() for one in parts]
        number = form.cleaned_data["heir"]
        heir = chosen[number].code if number in range(len(chosen)) else ""
        if "confirm" in posted:
            done = self._done(
                request,
                form,
                lambda: taxonomy.split(
                    intent,
                    chosen,
                    heir=heir,
                    by=signed_in(request),
                    comment=form.cleaned_data["comment"],
                ),
                gettext("%(code)s is split.") % {"code": intent.code},
            )
            return done or self._split_form(request, context)
        try:
            shown = taxonomy.preview_split(intent, chosen, heir=heir)
        except ValidationError as error:
            form.add_error(None, error.messages)
            return self._split_form(request, context)
        return self._page(request, "split_preview.html", context | {"shown": shown})

    @action(description=_("Retire"), url_path="retire", icon="archive")
    def retire_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Leads to the page that asks before it retires."""
        return redirect(self.retire_url([self._intent(request, object_id).pk]))

    @action(description=_("Take back into use"), url_path="restore", icon="unarchive")
    def restore_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Takes the intent back into use at once: it can be retired again."""
        intent = self._intent(request, object_id)
        if request.method != "POST":
            title = gettext("Take %(code)s back into use") % {"code": intent.code}
            context = {"intent": intent, "title": title}
            return self._page(request, "restore.html", context)
        taxonomy.restore(intent, by=signed_in(request))
        messages.success(
            request, gettext("%(code)s is in use again.") % {"code": intent.code}
        )
        return redirect("admin:labeling_intent_change", intent.pk)

    def merge_view(self, request: HttpRequest) -> HttpResponse:
        """Merges the intents in `chosen` into one of them or into another."""
        chosen = self._chosen(request)
        if len({intent.project_id for intent in chosen}) > 1:
            messages.error(request, _("Only intents of one project can be merged."))
            return redirect("admin:labeling_intent_changelist")
        targets = Intent.objects.filter(
            project=chosen[0].project_id, retired_at=None
        ).order_by("code")
        if len(chosen) == 1:
            targets = targets.exclude(pk=chosen[0].pk)
        form = MergeForm(
            request.POST or None, targets=targets, initial={"target": _most(chosen)}
        )
        codes = ", ".join(intent.code for intent in chosen)
        title = gettext("Merge %(codes)s") % {"codes": codes}
        context = {"chosen": chosen, "form": form, "title": title}
        if not form.is_valid() or "back" in request.POST:
            return self._page(request, "merge.html", context)
        target = form.cleaned_data["target"]
        sources = [intent for intent in chosen if intent.pk != target.pk]
        if "confirm" in request.POST:
            merged = self._done(
                request,
                form,
                lambda: taxonomy.merge(
                    sources,
                    target,
                    by=signed_in(request),
                    comment=form.cleaned_data["comment"],
                ),
                gettext("Merged into %(code)s.") % {"code": target.code},
            )
            return merged or self._page(request, "merge.html", context)
        try:
            shown = taxonomy.preview_merge(sources, target)
        except ValidationError as error:
            form.add_error(None, error.messages)
            return self._page(request, "merge.html", context)
        return self._page(request, "merge_preview.html", context | {"shown": shown})

    def retire_view(self, request: HttpRequest) -> HttpResponse:
        """Asks, saying what it touches, before it retires the intents in `chosen`."""
        chosen = [one for one in self._chosen(request) if one.retired_at is None]
        if not chosen:
            messages.info(request, _("They are retired already."))
            return redirect("admin:labeling_intent_changelist")
        if request.method == "POST":
            n = 0
            for intent in chosen:
                try:
                    taxonomy.retire(intent, by=signed_in(request))
                    n += 1
                except ValidationError as error:
                    messages.error(request, f"{intent}: {error.messages[0]}")
                except TaxonomyChanged as error:
                    messages.error(request, str(error))
            if n:
                message = ngettext(
                    "%(n)d intent retired; its labels stay, its rules are off.",
                    "%(n)d intents retired; their labels stay, their rules are off.",
                    n,
                )
                messages.success(request, message % {"n": n})
            return redirect("admin:labeling_intent_changelist")
        codes = ", ".join(intent.code for intent in chosen)
        context = {
            "chosen": chosen,
            "rows": [(intent, taxonomy.impact_of([intent])) for intent in chosen],
            "title": gettext("Retire %(codes)s") % {"codes": codes},
        }
        return self._page(request, "retire.html", context)

    def merge_url(self, ids: Sequence[int]) -> str:
        """The page that merges these intents."""
        return _with_chosen("admin:labeling_intent_merge", ids)

    def retire_url(self, ids: Sequence[int]) -> str:
        """The page that retires these intents."""
        return _with_chosen("admin:labeling_intent_retire", ids)

    def _intent(self, request: HttpRequest, object_id: str) -> Intent:
        intent: Intent | None = self.get_object(request, object_id)
        if intent is None:
            raise Http404
        if not self.has_change_permission(request, intent):
            raise PermissionDenied
        return intent

    def _chosen(self, request: HttpRequest) -> list[Intent]:
        """The intents that the address names and the person manages, by code."""
        ids = request.GET.get("chosen", "").split(",")
        numbers = [int(one) for one in ids if one.isdecimal() and len(one) < 19]
        if not project_ids(request, Role.MANAGER):
            raise PermissionDenied
        rows: QuerySet[Intent] = self.get_queryset(request).filter(pk__in=numbers)
        found = list(self.writable(request, rows).order_by("code"))
        if not found:
            raise Http404
        return found

    def _done(
        self, request: HttpRequest, form: Any, write: Callable[[], Any], told: str
    ) -> HttpResponse | None:
        """Writes and leads back to the list; None, with the form told, if it can't."""
        try:
            write()
        except ValidationError as error:
            form.add_error(None, error.messages)
            return None
        except TaxonomyChanged as error:
            messages.error(request, str(error))
        else:
            messages.success(request, told)
        return redirect("admin:labeling_intent_changelist")

    def _split_form(
        self, request: HttpRequest, context: dict[str, Any]
    ) -> HttpResponse:
        intent = context["intent"]
        labelled = Question.objects.labelled().with_gold_intent(intent)
        shown = labelled.exclude(split=Question.Split.TEST).order_by("-occurrences")
        context["examples"] = list(shown[:EXAMPLES])
        return self._page(request, "split.html", context)

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> HttpResponse:
        return TemplateResponse(
            request,
            f"admin/labeling/intent/{template}",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": context.get("intent"),
                **context,
            },
        )


def _with_chosen(name: str, ids: Sequence[int]) -> str:
    return f"{reverse(name)}?chosen={','.join(map(str, ids))}"


def _most(chosen: list[Intent]) -> Intent | None:
    """Of several intents the one with the most labels, or the fallback."""
    if len(chosen) == 1:
        return None
    in_use = [intent for intent in chosen if intent.retired_at is None]
    rows = Intent.objects.in_bulk([intent.pk for intent in in_use])
    return max(
        rows.values(),
        key=lambda intent: (intent.is_fallback, intent.gold_labels.count()),
        default=None,
    )
