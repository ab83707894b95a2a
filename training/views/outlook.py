"""What a training would be like: its time, its rows, what differs from its preset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from labeling.models import Project, SyntheticQuestion
from registry.models import Version
from training import explain
from training.planning import estimate
from training.planning.presets import Offer
from training.recipe import Recipe

_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Choice:
    """A preset as the page offers it."""

    offer: Offer
    minutes: str
    is_possible: bool
    is_chosen: bool
    is_recommended: bool


@dataclass(frozen=True)
class Change:
    """A value that is not the preset's."""

    title: str
    was: str
    is_now: str


@dataclass(frozen=True)
class Standing:
    """A project as the page finds it; made once a request."""

    project: Project
    active: Version | None
    known: estimate.Counts
    synthetic: int
    """Synthetic questions that a batch may take in."""

    @classmethod
    def of(cls, project: Project, active: Version | None) -> "Standing":
        """Three queries."""
        used = SyntheticQuestion.objects.filter(project=project, is_used=True)
        return cls(project, active, estimate.counts(project), used.count())

    def base(self, offer: Offer, asked: str = "") -> str:
        """The base model that a training would start from."""
        if offer.goes_on and self.active is not None:
            return str(
                self.active.provenance.get("base") or settings.DEFAULT_BASE_MODEL
            )
        return asked.strip() or str(settings.DEFAULT_BASE_MODEL)

    def seconds(
        self,
        offer: Offer,
        recipe: Recipe | None = None,
        *,
        base: str = "",
        with_synthetic: bool = False,
    ) -> float:
        """Seconds from start to verdict. One query."""
        return estimate.seconds(
            self.known,
            preset=offer.name,
            recipe=recipe or offer.recipe,
            base=self.base(offer, base),
            goes_on=offer.goes_on,
            synthetic=self.synthetic if with_synthetic else 0,
        )


def choices(
    standing: Standing, offers: list[Offer], chosen: str
) -> tuple[list[Choice], str]:
    """The presets as cards, and why one of them is recommended. A query a preset."""
    took = {offer.name: standing.seconds(offer) for offer in offers}
    name = recommended(standing, offers, took)
    cards = [
        Choice(
            offer=offer,
            minutes=duration(took[offer.name]),
            is_possible=standing.active is not None or not offer.goes_on,
            is_chosen=offer.name == chosen,
            is_recommended=offer.name == name and bool(standing.known.train),
        )
        for offer in offers
    ]
    return cards, _advice(standing, name, took)


def recommended(
    standing: Standing, offers: list[Offer], took: dict[str, float] | None = None
) -> str:
    """Name of the built-in preset that fits; `took` spares a query."""
    first = next(offer for offer in offers if offer.name == "first")
    return estimate.recommended(
        standing.known,
        has_active=standing.active is not None,
        full_s=took["first"] if took else standing.seconds(first),
        presets=[offer.name for offer in offers],
    )


def _advice(standing: Standing, name: str, took: dict[str, float]) -> str:
    """Why a preset is recommended, for a project with a version or few labels."""
    known = standing.known
    if not known.train:
        return ""
    values: dict[str, Any] = {
        "new": known.new,
        "full": duration(took["first"]),
        "on": duration(took["incremental"]),
        "limit": round(estimate.FULL_RETRAIN_FITS_S / 60),
        "labels": f"{known.train / max(1, known.intents):.0f}",
    }
    if name == "few-shot":
        return (
            _(
                "Recommended: “few-shot”, for you have about %(labels)s labels an"
                " intent to learn from."
            )
            % values
        )
    if standing.active is None:
        return ""
    if not known.new:
        return _(
            "No label is new since the last training: train again after a change of"
            " the intents, or to try another recipe."
        )
    if name == "incremental":
        return (
            _(
                "%(new)d labels are new. A full retraining would take %(full)s, going"
                " on from the active version %(on)s: going on is recommended. Once in a"
                " while a full retraining is worth its time: it loses nothing of the"
                " old."
            )
            % values
        )
    return (
        _(
            "%(new)d labels are new. A full retraining takes %(full)s, going on from"
            " the active version %(on)s. The full retraining is recommended, as it"
            " takes less than %(limit)d minutes: it learns old and new labels together"
            " and forgets nothing."
        )
        % values
    )


def changed(offer: Offer, changes: dict[str, Any]) -> list[Change]:
    """The changed values in words."""
    preset = offer.recipe.to_dict()
    return [
        Change(
            title=str(explain.KNOBS[name].title),
            was=explain.value(name, preset[name]),
            is_now=explain.value(name, value),
        )
        for name, value in changes.items()
    ]


def most_processes() -> int:
    """Processes that make sense here: as many as GPUs, or what the settings say.

    The web process has no torch to ask, and the driver's list costs nothing. Workers on
    other machines are the settings' business.
    """
    gpus = len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0
    return max(int(settings.TRAIN_PROCESSES), gpus, 1)


def duration(seconds: float) -> str:
    """A rough time in words."""
    if seconds < 90:
        return _("about %d s") % (10 * max(1, round(seconds / 10)))
    if seconds < 100 * 60:
        return _("about %d min") % round(seconds / 60)
    return _("about %.1f h") % (seconds / 3600)
