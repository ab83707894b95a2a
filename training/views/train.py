"""The page on which a manager starts a training."""

from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from labeling import datasets
from labeling.models import Project
from registry import versions
from training import batches
from training.models import TrainingBatch
from training.planning import presets, recipe_form
from training.planning.presets import Offer
from training.planning.recipe_form import RecipeForm
from training.recipe import Recipe
from training.views import pages, warnings
from training.views.outlook import (
    Standing,
    changed,
    choices,
    duration,
    most_processes,
    recommended,
)


class TrainForm(forms.Form):
    """What a manager decides beside the recipe."""

    preset = forms.ChoiceField(widget=forms.RadioSelect)
    base = forms.CharField(
        required=False,
        max_length=300,
        label=gettext_lazy("Base model"),
        help_text=gettext_lazy(
            "hub:owner/name, path:/a/folder or package:name. A training that goes on"
            " from a version has that one's."
        ),
        widget=UnfoldAdminTextInputWidget,
    )
    processes = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=TrainingBatch.MAX_PROCESSES,
        label=gettext_lazy("Processes"),
        help_text=gettext_lazy(
            "On the worker's machine, one a GPU; they share the questions of each step."
        ),
        widget=UnfoldAdminIntegerFieldWidget,
    )
    with_synthetic = forms.BooleanField(required=False)
    force = forms.BooleanField(required=False)

    def __init__(self, *args: Any, offers: list[Offer], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["preset"]
        field.choices = [(offer.name, offer.title) for offer in offers]
        if most_processes() == 1:
            del self.fields["processes"]


class _Page:
    """One request's forms and what they are about."""

    def __init__(self, request: HttpRequest, slug: str) -> None:
        self.request = request
        self.project: Project = pages.project_of(request, slug)
        self.active = versions.active(self.project)
        self.standing = Standing.of(self.project, self.active)
        self.offers = presets.offers(self.active)
        self.like = self._like()
        data = request.POST if request.method == "POST" else None
        initial = {
            "preset": self._first_choice(),
            "base": settings.DEFAULT_BASE_MODEL,
            "processes": settings.TRAIN_PROCESSES,
        }
        if self.like is not None:
            initial["base"] = self.like.base
            initial["processes"] = self.like.processes
            initial["with_synthetic"] = self.like.with_synthetic
        self.form = TrainForm(data, initial=initial, offers=self.offers)
        self.offer = self._offer(self.form["preset"].value())
        self.recipe_form = self._recipe_form(data)

    def _like(self) -> TrainingBatch | None:
        """An earlier batch of the project whose values the form shows."""
        asked = self.request.GET.get("like", "")
        if not asked.isdecimal():
            return None
        return self.project.batches.filter(pk=asked).first()

    def _first_choice(self) -> str:
        asked = self.request.GET.get("preset") or (self.like and self.like.preset)
        if asked and any(offer.name == asked for offer in self.offers):
            return str(asked)
        return recommended(self.standing, self.offers)

    def _offer(self, name: str) -> Offer:
        """The preset of that name; the first one where it is mistyped."""
        found = (offer for offer in self.offers if offer.name == name)
        return next(found, self.offers[0])

    def _recipe_form(self, data: QueryDict | None) -> RecipeForm:
        """The recipe's values, beside the preset that they were shown with.

        A posted form without `recipe_of` changes nothing of its preset. One that showed
        another preset (without a script, the chosen preset's values do not follow the
        click) changes what was changed there, and no more.
        """
        shown = None
        if data is not None and "recipe_of" in data:
            of = self._offer(str(data["recipe_of"]))
            return RecipeForm(data, name=of.name, preset=of.recipe, shown=None)
        if self.like is not None and self.like.preset == self.offer.name:
            shown = _known(self.like.recipe)
        offer = self.offer
        return RecipeForm(None, name=offer.name, preset=offer.recipe, shown=shown)

    def changes(self) -> dict[str, Any]:
        """What is changed of the chosen preset's values."""
        preset = self.offer.recipe.to_dict()
        return {
            name: value
            for name, value in self.recipe_form.changes().items()
            if not recipe_form.same(value, preset[name])
        }

    def outlook(self) -> dict[str, Any]:
        """What the part that follows the form's values shows. One query."""
        changes = self.changes()
        try:
            recipe = replace(self.offer.recipe, **changes)
        except ValueError as error:
            return {"wrong": [str(error)]}
        self.form.is_valid()
        given = self.form.cleaned_data if self.form.is_bound else self.form.initial
        took_s = self.standing.seconds(
            self.offer,
            recipe,
            base=given.get("base", ""),
            with_synthetic=bool(given.get("with_synthetic")),
        )
        preset = self.offer.name
        return {
            "offer": self.offer,
            "warnings": warnings.shown(self.project, recipe, preset=preset)
            if self.standing.known.labelled
            else [],  # what is missing then is said above
            "minutes": duration(took_s),
            "changed": changed(self.offer, changes),
            "wrong": [
                f"{self.recipe_form.fields[name].label}: {'; '.join(map(str, errors))}"
                for name, errors in self.recipe_form.errors.items()
            ],
        }

    def render(self) -> HttpResponse:
        project, known = self.project, self.standing.known
        missing = datasets.missing_labels(project)
        is_first = not project.questions.exclude(trained_in="").exists()
        needed = project.min_labels_first if is_first else project.min_labels_next
        cards, advice = choices(self.standing, self.offers, self.offer.name)
        context = pages.context(
            self.request,
            title=_("Train %(project)s") % {"project": project},
            project=project,
            active=self.active,
            form=self.form,
            known=known,
            synthetic=self.standing.synthetic,
            missing=missing,
            needed=needed,
            done=max(0, needed - missing),
            share=100 * max(0, needed - missing) / needed if needed else 100,
            is_first=is_first,
            choices=cards,
            advice=advice,
            like=self.like,
            recipe_form=self.recipe_form,
            recipe_open=bool(self.recipe_form.errors) or self.like is not None,
            outlook=self.outlook(),
            under_way=batches.unfinished(project).first(),
            latest=project.batches.select_related("version").order_by("-id")[:5],
        )
        return render(self.request, "training/train.html", context)

    def create(self) -> TrainingBatch | None:
        """Queues the batch; None with the reasons on the forms."""
        form, recipe = self.form, self.recipe_form
        if not form.is_valid() or (recipe.is_bound and not recipe.is_valid()):
            return None
        values = form.cleaned_data
        changes = self.changes()
        try:
            return batches.create(
                self.project,
                preset=values["preset"],
                overrides={k: recipe_form.as_override(v) for k, v in changes.items()},
                base=None if self.offer.goes_on else values["base"].strip() or None,
                by=pages.person(self.request),
                with_synthetic=values["with_synthetic"],
                processes=values.get("processes"),
                force=values["force"],
            )
        except batches.UnknownBase as error:
            form.add_error(None if self.offer.goes_on else "base", str(error))
        except batches.InvalidRecipe as error:
            if recipe.is_bound:
                recipe_form.add_error(recipe, error)
            else:
                form.add_error(None, str(error))
        except batches.BatchError as error:
            form.add_error(None, str(error))
        return None


@login_required
@require_http_methods(["GET", "POST"])
def train(request: HttpRequest, slug: str) -> HttpResponse:
    """Labels so far, the presets with their cost, their values, and the button."""
    page = _Page(request, slug)
    if request.method == "POST":
        batch = page.create()
        if batch is not None:
            messages.success(request, _("Batch #%d is on the queue.") % batch.pk)
            return redirect("training:batch", batch.pk)
    return page.render()


@login_required
@require_GET
def recipe(request: HttpRequest, slug: str) -> HttpResponse:
    """The values of the preset that was chosen, and what they would cost."""
    page = _Page(request, slug)
    if page.offer.name != request.GET.get("preset"):
        raise Http404
    context = {"recipe_form": page.recipe_form, "outlook": page.outlook()}
    return render(request, "training/recipe.html", context)


@login_required
@require_POST
def outlook(request: HttpRequest, slug: str) -> HttpResponse:
    """What the values of the form, as they stand, would cost."""
    page = _Page(request, slug)
    return render(request, "training/outlook.html", {"outlook": page.outlook()})


def _known(values: dict[str, Any]) -> Recipe | None:
    """A batch's recipe; None if it is an earlier release's."""
    try:
        return Recipe.from_dict(values)
    except (TypeError, ValueError):
        return None
