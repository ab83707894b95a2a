"""The presets with every field explained, and the way to a project's gate."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from labeling.admin.scoped import Role, project_ids
from training import explain
from training.models import GateRules, Preset
from training.planning import presets
from training.planning.recipe_form import same
from training.recipe import Recipe
from training.views import pages


@dataclass(frozen=True)
class Row:
    """One field of the presets beside each other."""

    name: str
    knob: explain.Knob
    allowed: str
    default: str
    values: list[tuple[str, str, bool]]
    """A preset each: its name, its value, whether that differs from the default."""


@login_required
@require_GET
def show(request: HttpRequest) -> HttpResponse:
    """All presets side by side; whoever manages a project may look. Two queries."""
    if not project_ids(request, Role.MANAGER) and not request.user.is_superuser:
        raise PermissionDenied
    offers = presets.offers()
    context = pages.context(
        request,
        title=_("Presets, explained"),
        opts=Preset._meta,
        offers=offers,
        groups=[
            (group, [_row(name, knob, offers) for name, knob in group.knobs.items()])
            for group in explain.GROUPS.values()
        ],
        may_add=request.user.has_perm("training.add_preset"),
    )
    return render(request, "training/presets.html", context)


@login_required
@require_GET
def gate_rules(request: HttpRequest, slug: str) -> HttpResponse:
    """Leads to the form of the project's rules, own ones or the defaults."""
    project = pages.project_of(request, slug)
    pk = GateRules.objects.filter(project=project).values_list("pk", flat=True).first()
    if pk is not None:
        return redirect("admin:training_gaterules_change", pk)
    add = reverse("admin:training_gaterules_add")
    return redirect(f"{add}?project={project.pk}")


def _row(name: str, knob: explain.Knob, offers: list[presets.Offer]) -> Row:
    default: Any = getattr(Recipe(), name)
    values = [(offer.name, getattr(offer.recipe, name)) for offer in offers]
    return Row(
        name=name,
        knob=knob,
        allowed=explain.allowed(name),
        default=explain.value(name, default),
        values=[
            (preset, explain.value(name, value), not same(value, default))
            for preset, value in values
        ],
    )
