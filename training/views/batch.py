"""A batch's page: its progress while it runs, its verdict at the end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from labeling.admin import cells
from registry.admin.evaluation import Shown
from registry.models import Version
from training import batches, explain
from training.batches import curves, queueing
from training.models import TrainingBatch
from training.planning.recipe_form import same
from training.running.accounting import CPU
from training.views import pages

State = TrainingBatch.State

STATE_KIND = {
    State.QUEUED: "",
    State.RUNNING: "info",
    State.SUCCEEDED: "good",
    State.FAILED: "bad",
    State.CANCELLED: "warn",
}
_GATE_KIND = {
    Version.Gate.PENDING: "",
    Version.Gate.PASSED: "good",
    Version.Gate.REFUSED: "bad",
}
_AFTER_TRAINING = ("save", "export", "evaluate", "register")
_LOG_LINES = 40


@dataclass(frozen=True)
class Stage:
    """A part of a run, as the page lists them."""

    title: str
    is_done: bool
    is_now: bool


@login_required
@require_GET
def show(request: HttpRequest, batch_id: int) -> HttpResponse:
    """The whole page."""
    batch = pages.batch_of(request, batch_id)
    context = pages.context(
        request,
        title=_("Batch #%(n)d of %(project)s")
        % {"n": batch.pk, "project": batch.project},
        opts=TrainingBatch._meta,  # with `original`: the header's way back to the list
        original=batch,
        **_reason(batch),
        recipe=(recipe := _recipe(batch)),
        changed_values=sum(bool(one.preset) for _title, all_ in recipe for one in all_),
        **_live(batch),
    )
    return render(request, "training/batch.html", context)


@login_required
@require_GET
def live(request: HttpRequest, batch_id: int) -> HttpResponse:
    """The part that changes while it runs; asks for the whole page at a new state."""
    batch = pages.batch_of(request, batch_id)
    if request.GET.get("state") != batch.state:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "training/live.html", _live(batch))


@login_required
@require_GET
def log(request: HttpRequest, batch_id: int) -> HttpResponse:
    """The whole log as plain text."""
    batch = pages.batch_of(request, batch_id)
    headers = {"X-Content-Type-Options": "nosniff"}
    return HttpResponse(
        batch.log, content_type="text/plain; charset=utf-8", headers=headers
    )


@login_required
@require_POST
def cancel(request: HttpRequest, batch_id: int) -> HttpResponse:
    """Ends a waiting batch, or asks a running one to stop."""
    done = _("The batch stops within seconds.")
    return _act(request, batch_id, batches.cancel, done)


@login_required
@require_POST
def retry(request: HttpRequest, batch_id: int) -> HttpResponse:
    """Puts a failed or cancelled batch back on the queue."""
    return _act(request, batch_id, batches.retry, _("The batch is on the queue again."))


def _act(
    request: HttpRequest,
    batch_id: int,
    action: Callable[[TrainingBatch, User], None],
    done: str,
) -> HttpResponse:
    batch = pages.batch_of(request, batch_id)
    try:
        action(batch, pages.person(request))
    except batches.BatchError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
    return redirect("training:batch", batch.pk)


def state_badge(batch: TrainingBatch) -> SafeString:
    """The batch's state as a coloured word."""
    state = State(batch.state)
    return cells.badge(state.label, STATE_KIND[state])


def duration(seconds: float | None) -> str:
    """Seconds as "12 s", "3 min" or "1 h 05 min"; a dash for None."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 100:
        return _("%d s") % whole
    minutes = round(whole / 60)
    if minutes < 60:
        return _("%d min") % minutes
    return _("%(hours)d h %(minutes)02d min") % {
        "hours": minutes // 60,
        "minutes": minutes % 60,
    }


def _live(batch: TrainingBatch) -> dict[str, Any]:
    """What the page and its live part show. Two queries, one look at RQ at most.

    A batch that waits costs a query more: whether another one of its project is before.
    """
    is_open = batch.state in (State.QUEUED, State.RUNNING)
    is_waiting = batch.state == State.QUEUED
    version = batch.version
    lines = batch.log.splitlines()
    evaluation = version.evaluations.filter(kind="test").last() if version else None
    return {
        "batch": batch,
        "status": state_badge(batch),
        "is_open": is_open,
        "may_cancel": is_open and not batch.cancel_requested,
        "may_retry": batch.state in (State.FAILED, State.CANCELLED),
        "ahead": _ahead(batch) if is_waiting else None,
        "workers": queueing.workers() if is_waiting else None,
        "stages": _stages(batch),
        "share": _share(batch),
        "left": duration(batch.eta_s) if batch.eta_s is not None else "",
        "took": _took(batch),
        "charts": _charts(batch),
        "log": "\n".join(lines[-_LOG_LINES:]),
        "log_lines": len(lines),
        "log_is_cut": len(lines) > _LOG_LINES,
        "resources": _resources(batch),
        "version": version,
        "verdict": _verdict(version) if version else "",
        # What the gate refused can be forced, but is not what to do next.
        "activate_variant": "primary"
        if version and version.gate == Version.Gate.PASSED
        else "default",
        "comparison": _comparison(batch),
        "shown": Shown(evaluation) if evaluation else None,
    }


def _ahead(batch: TrainingBatch) -> TrainingBatch | None:
    """The batch of the same project that has to end before this one begins."""
    is_before = Q(state=State.RUNNING) | Q(pk__lt=batch.pk)
    others = batches.unfinished(batch.project).exclude(pk=batch.pk).filter(is_before)
    return others.order_by("-state", "pk").first()  # the running one, if there is one


def _stages(batch: TrainingBatch) -> list[Stage]:
    names = {
        "prepare": _("Prepare"),
        "train": _("Train"),
        "export": _("Export"),
        "evaluate": _("Evaluate"),
        "register": _("Register"),
    }
    # What fit calls phases are parts of these.
    now = {"validate": "train", "save": "export"}.get(batch.phase, batch.phase)
    order = list(names)
    at = order.index(now) if now in order else -1
    is_over = batch.state == State.SUCCEEDED
    return [
        Stage(title=title, is_done=is_over or i < at, is_now=not is_over and i == at)
        for i, title in enumerate(names.values())
    ]


def _share(batch: TrainingBatch) -> float:
    """Percent of the optimizer steps."""
    if batch.state == State.SUCCEEDED or batch.phase in _AFTER_TRAINING:
        return 100.0  # early stopping leaves steps undone
    if not batch.total_steps:
        return 0.0
    return min(100.0, 100.0 * batch.step / batch.total_steps)


def _took(batch: TrainingBatch) -> str:
    if batch.started_at is None or batch.finished_at is None:
        return ""
    return duration((batch.finished_at - batch.started_at).total_seconds())


def _charts(batch: TrainingBatch) -> list[curves.Chart]:
    steps = list(batch.steps.values_list("step", "loss", "macro_f1"))
    losses = [(float(s), loss) for s, loss, _f1 in steps if loss]
    scores = [(float(s), f1) for s, _loss, f1 in steps if f1 is not None]
    last = float(steps[-1][0]) if steps else 0.0  # the same axis for both
    drawn = (
        curves.chart(_("Loss"), losses, x_max=last),
        curves.chart(_("Macro-F1 on validation"), scores, x_max=last, y_max=1.0),
    )
    return [chart for chart in drawn if chart is not None]


@dataclass(frozen=True)
class Value:
    """One field of the batch's recipe."""

    name: str
    title: str
    text: str
    shown: str
    unit: str
    preset: str
    """The preset's value, where this one differs from it; empty otherwise."""


def _recipe(batch: TrainingBatch) -> list[tuple[str, list[Value]]]:
    """The recipe as the batch keeps it, by groups. A query for a team's preset."""
    recipe = batch.recipe if isinstance(batch.recipe, dict) else {}  # a broken one
    try:
        preset = batches.recipe_of(batch.preset).to_dict()
    except batches.InvalidRecipe:  # deleted or renamed since
        preset = recipe

    def value(name: str, knob: explain.Knob) -> Value:
        given = recipe[name]
        is_same = name not in preset or same(given, preset[name])
        return Value(
            name=name,
            title=str(knob.title),
            text=str(knob.text),
            shown=explain.value(name, given),
            unit=str(knob.unit),
            preset="" if is_same else explain.value(name, preset[name]),
        )

    shown = [
        (
            str(group.title),
            [value(k, knob) for k, knob in group.knobs.items() if k in recipe],
        )
        for group in explain.GROUPS.values()
    ]
    return [(title, values) for title, values in shown if values]


def _reason(batch: TrainingBatch) -> dict[str, str]:
    """The error's sentence, and what a dying process wrote below it."""
    reason, _newline, more = batch.error.strip().partition("\n")
    return {"reason": reason, "more_reason": more.strip()}


def _resources(batch: TrainingBatch) -> list[tuple[str, str]]:
    """What the runs of the batch have used, in words; nothing before one ended."""
    used = batch.resources
    if not used:
        return []
    rows: list[tuple[str, str | None]] = [
        (_("Device"), "CPU" if used.get("device") == CPU else used.get("device")),
        (_("Time"), _seconds(used.get("wall_s"))),
        (_("CPU time"), _seconds(used.get("cpu_s"))),
        (_("Memory at most"), _memory(used.get("peak_memory_mb"))),
        (_("GPU memory at most"), _memory(used.get("gpu_peak_memory_mb"))),
        # What the meter counts has the worker's own children in it.
        (_("Processes"), str(batch.processes) if batch.processes > 1 else None),
    ]
    return [(title, words) for title, words in rows if words]


def _seconds(seconds: float | None) -> str | None:
    return duration(seconds) if seconds else None


def _memory(megabytes: float | None) -> str | None:
    if not megabytes:
        return None
    if megabytes < 1000:
        return _("%.0f MB") % megabytes
    return _("%.1f GB") % (megabytes / 1000)


def _verdict(version: Version) -> SafeString:
    gate = Version.Gate(version.gate)
    return cells.badge(gate.label, _GATE_KIND[gate])


def _comparison(batch: TrainingBatch) -> dict[str, Any] | None:
    """The new version beside the one that was active, on the same questions."""
    compared = batch.metrics.get("comparison")
    active = batch.metrics.get("active")
    if not compared or not active:
        return None
    changed = [
        {
            "code": code,
            "n": one["n"],
            "before": cells.percent(one["before"]),
            "after": cells.percent(one["after"]),
            "change": round(100 * (one["after"] - one["before"])),
        }
        for code, one in compared["per_intent"].items()
        if one["after"] != one["before"]
    ]
    changed.sort(key=lambda row: row["change"])
    return {
        "version": active["version"],
        "n": compared["n"],
        "fixed": compared["fixed"],
        "broken": compared["broken"],
        "p": f"{compared['p']:.3f}",
        "accuracy": f"{100 * compared['accuracy']:+.1f}",
        "macro_f1": f"{100 * compared['macro_f1']:+.1f}",
        "worst": [row for row in changed if row["change"] < 0][:6],
        "best": [row for row in reversed(changed) if row["change"] > 0][:6],
    }
