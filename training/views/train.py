"""The page on which a manager starts a training."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from labeling import datasets
from labeling.models import Project
from registry import versions
from registry.models import Version
from training import batches, estimate
from training.recipe import PRESETS, Recipe
from training.views import pages


@dataclass(frozen=True)
class Choice:
    """A preset as the page offers it."""

    name: str
    title: str
    text: str
    minutes: str
    is_possible: bool
    is_chosen: bool


class TrainForm(forms.Form):
    """What a manager may decide; the rest is the preset's business."""

    preset = forms.ChoiceField(choices=[(name, name) for name in PRESETS])
    base = forms.CharField(
        required=False,
        max_length=300,
        label=gettext_lazy("Base model"),
        help_text=gettext_lazy(
            "hub:owner/name, path:/a/folder or package:name. An incremental training"
            " goes on from the active version instead."
        ),
        widget=UnfoldAdminTextInputWidget,
    )
    overrides = forms.CharField(
        required=False,
        max_length=2000,
        label=gettext_lazy("Other recipe values"),
        help_text=gettext_lazy("One a line, such as epochs=6 or seed=7."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
    )
    force = forms.BooleanField(required=False)

    def clean_overrides(self) -> dict[str, str]:
        """Lines of key=value as a dictionary."""
        found = {}
        for line in self.cleaned_data["overrides"].splitlines():
            if not line.strip():
                continue
            key, equals, value = line.partition("=")
            if not equals:
                raise forms.ValidationError(
                    _("Write key=value, not “%(line)s”.") % {"line": line.strip()}
                )
            found[key.strip()] = value.strip()
        return found


@login_required
@require_http_methods(["GET", "POST"])
def train(request: HttpRequest, slug: str) -> HttpResponse:
    """Labels so far, the presets with their cost, and the button."""
    project = pages.project_of(request, slug)
    active = versions.active(project)
    chosen = batches.INCREMENTAL if active is not None else "first"
    initial = {"preset": chosen, "base": settings.DEFAULT_BASE_MODEL}
    form = TrainForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        goes_on = values["preset"] == batches.INCREMENTAL
        try:
            batch = batches.create(
                project,
                preset=values["preset"],
                overrides=values["overrides"],
                base=None if goes_on else values["base"].strip() or None,
                by=pages.person(request),
                force=values["force"],
            )
        except batches.UnknownBase as error:
            form.add_error(None if goes_on else "base", str(error))
        except batches.InvalidRecipe as error:
            form.add_error("overrides", str(error))
        except batches.BatchError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("Batch #%d is on the queue.") % batch.pk)
            return redirect("training:batch", batch.pk)
    return _page(request, project, active, form)


def _page(
    request: HttpRequest, project: Project, active: Version | None, form: TrainForm
) -> HttpResponse:
    known = estimate.counts(project)
    missing = datasets.missing_labels(project)
    is_first = not project.questions.exclude(trained_in="").exists()
    needed = project.min_labels_first if is_first else project.min_labels_next
    chosen = form["preset"].value()
    context = pages.context(
        request,
        title=_("Train %(project)s") % {"project": project},
        project=project,
        active=active,
        form=form,
        known=known,
        missing=missing,
        needed=needed,
        done=max(0, needed - missing),
        share=100 * max(0, needed - missing) / needed if needed else 100,
        is_first=is_first,
        choices=[
            _choice(name, known, active, is_chosen=name == chosen) for name in PRESETS
        ],
        under_way=batches.unfinished(project).first(),
        latest=project.batches.select_related("version").order_by("-id")[:5],
    )
    return render(request, "training/train.html", context)


def _choice(
    name: str, known: estimate.Counts, active: Version | None, *, is_chosen: bool
) -> Choice:
    recipe, base = PRESETS[name], settings.DEFAULT_BASE_MODEL
    goes_on = name == batches.INCREMENTAL
    if goes_on and active is not None:
        base = active.provenance.get("base") or base
    title, text = _words(name, recipe, active)
    seconds = estimate.seconds(known, preset=name, recipe=recipe, base=base)
    return Choice(
        name=name,
        title=title,
        text=text,
        minutes=_duration(seconds),
        is_possible=active is not None or not goes_on,
        is_chosen=is_chosen,
    )


def _words(name: str, recipe: Recipe, active: Version | None) -> tuple[str, str]:
    values: dict[str, Any] = {
        "number": active.number if active else 0,
        "share": f"{100 * recipe.replay:.0f}",
        "epochs": recipe.epochs,
        "rank": recipe.lora_rank,
    }
    if name == "first":
        return (
            _("Afresh, from the base model"),
            _(
                "Learns all labels, %(epochs)d times over. The best quality, and the"
                " longest training; right for a first version and after large changes"
                " of the intents."
            )
            % values,
        )
    if name == batches.INCREMENTAL:
        return (
            _("Go on from version %(number)d") % values
            if active
            else _("Go on from the active version"),
            _(
                "Learns the new labels and repeats old ones, %(share)s %% as many."
                " Quick; most of the model stays as it is, so that little is forgotten."
            )
            % values
            if active
            else _("Needs an active version to go on from."),
        )
    if name == "lora":
        return (
            _("Low-rank adapters"),
            _(
                "Learns all labels through small adapters of rank %(rank)d beside the"
                " base model's weights. Needs the least memory."
            )
            % values,
        )
    return name, ""


def _duration(seconds: float) -> str:
    """A rough time in words."""
    if seconds < 90:
        return _("about %d s") % (10 * max(1, round(seconds / 10)))
    return _("about %d min") % round(seconds / 60)
