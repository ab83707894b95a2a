"""Warnings before a training, each with the way to the questions concerned."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from labeling.models import Intent, Project, Queue
from training.planning import preflight
from training.recipe import Recipe


@dataclass(frozen=True)
class Link:
    """Where the questions of a warning are."""

    title: str
    url: str


@dataclass(frozen=True)
class Shown:
    """A warning as the page shows it."""

    sentence: str
    links: list[Link]


def shown(project: Project, recipe: Recipe, *, preset: str) -> list[Shown]:
    """What to know before the training starts. Costs what `preflight.check` does."""
    found = preflight.check(project, recipe, preset=preset)
    return [Shown(preflight.sentence(one), _links(project, one)) for one in found]


def _links(project: Project, warning: preflight.Warning) -> list[Link]:
    values = warning.values
    match warning.code:
        case "few_labels" | "few_labels_in_all":
            return [
                _queue(project, code, Queue.INTENT, intent=code)
                for code, _n in values["intents"]
            ]
        case "confusable":
            return [
                _queue(project, f"{a} / {b}", Queue.PAIR, a=a, b=b)
                for a, b, _n in values["pairs"]
            ]
        case "uneven":
            intent = Intent.objects.filter(project=project, code=values["intent"])
            pk = intent.values_list("pk", flat=True).first()
            return [_questions(project, values["intent"], intent=str(pk or ""))]
        case "no_test" | "few_test":
            return [_queue(project, str(Queue.AUDIT.label), Queue.AUDIT)]
        case "one_intent" | "no_validation":
            return [_queue(project, _("Label"), Queue.PRIORITY)]
        case "labels_at_odds":
            quality = reverse("labeling:quality", args=[project.slug])
            return [Link(_("Search for label errors"), quality)]
        case "alike_across_splits":
            near = {"duplicates": "member", "split__exact": "test"}
            return [_questions(project, _("Near-duplicates among them"), **near)]
    return []


def _queue(project: Project, title: str, queue: str, **more: str) -> Link:
    url = reverse("labeling:queue", args=[project.slug])
    return Link(title, f"{url}?{urlencode({'queue': queue, **more})}")


def _questions(project: Project, title: str, **filters: str) -> Link:
    url = reverse("admin:labeling_question_changelist")
    asked = {"project": project.pk, "state__exact": "labelled", **filters}
    return Link(title, f"{url}?{urlencode(asked)}")
