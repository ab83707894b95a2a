"""Two evaluations side by side: what the newer version fixes, breaks and forgets."""

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from registry import versions
from registry.models import Evaluation
from training.reports import figures, side_by_side
from training.views import evaluation_access

OTHERS_SHOWN = 50
INTENTS_SHOWN = 30
SIGNIFICANT_P = 0.05


@login_required
@require_GET
def default(request: HttpRequest, evaluation_id: int) -> HttpResponse:
    """Leads to the comparison with `?with=…`, else with the version that serves now."""
    new = evaluation_access.evaluation_of(request, evaluation_id)
    asked = request.GET.get("with", "")
    others = _others(new)
    if asked.isascii() and asked.isdigit() and len(asked) < 19:
        old = others.filter(pk=int(asked)).first()
        if old is None:
            raise Http404
    else:
        old = _usual(new, others)
    if old is None:
        context = evaluation_access.context(
            request, new.version, title=_title(new), new=new
        )
        return render(request, "training/evaluation_alone.html", context)
    return redirect("training:evaluation-against", new.pk, old.pk)


@login_required
@require_GET
def show(request: HttpRequest, evaluation_id: int, other_id: int) -> HttpResponse:
    """The comparison; `?more=fixed&after=…` gives the next lines of a list alone."""
    new = evaluation_access.evaluation_of(request, evaluation_id)
    others = _others(new)
    old = others.filter(pk=other_id).first()
    if old is None:
        raise Http404
    which = request.GET.get("more", "")
    if which in (side_by_side.FIXED, side_by_side.BROKEN):
        after = request.GET.get("after", "")
        is_row = after.isascii() and after.isdigit() and len(after) < 10
        context = _list(new, old, which, after=int(after) if is_row else -1)
        return render(request, "training/evaluation_changed.html", context)
    result = side_by_side.compare(old, new)
    context = evaluation_access.context(
        request,
        new.version,
        title=_title(new),
        new=new,
        old=old,
        others=others[:OTHERS_SHOWN],
        result=result,
        is_chance=result is None or result.p >= SIGNIFICANT_P,
        rows=_rows(result) if result else [],
        calibration=[_ece(old), _ece(new)],
        losses=[i for i in result.intents if i.difference < 0][:INTENTS_SHOWN]
        if result
        else [],
        gains=[i for i in reversed(result.intents) if i.difference > 0][:INTENTS_SHOWN]
        if result
        else [],
        lists=[
            _list(new, old, which)
            for which in (side_by_side.BROKEN, side_by_side.FIXED)
        ],
    )
    return render(request, "training/evaluation_against.html", context)


def _others(new: Evaluation) -> QuerySet[Evaluation]:
    """What it can be compared with: the project's other evaluations, newest first."""
    return (
        Evaluation.objects.filter(
            version__project=new.version.project_id, answers__row=0
        )
        .exclude(pk=new.pk)
        .select_related("version__project")
        .order_by("-pk")
    )


def _usual(new: Evaluation, others: QuerySet[Evaluation]) -> Evaluation | None:
    """The newest of the version that serves now, else of another, on the same kind.

    Another measurement of the very version comes last: it says next to nothing.
    """
    alike = others.filter(kind=new.kind)
    if new.kind == Evaluation.Kind.FILE:
        alike = alike.filter(source=new.source)
    active = versions.active(new.version.project)
    of_others = alike.exclude(version=new.version)
    of_active = of_others.filter(version=active).first() if active else None
    return of_active or of_others.first() or alike.first()


def _list(
    new: Evaluation, old: Evaluation, which: str, *, after: int = -1
) -> dict[str, object]:
    rows, more = side_by_side.changed(old, new, which=which, after=after)
    return {"new": new, "old": old, "which": which, "changed": rows, "more": more}


def _rows(result: side_by_side.SideBySide) -> list[tuple[str, side_by_side.Change]]:
    named = (
        (_("Accuracy"), result.accuracy),
        (_("Macro-F1"), result.macro_f1),
        (_("Out-of-scope F1"), result.out_of_scope),
    )
    return [(name, change) for name, change in named if change is not None]


def _ece(evaluation: Evaluation) -> float | None:
    multi = evaluation.version.project.is_multi_intent
    known = {f.key: f.value for f in figures.figures(evaluation.metrics, multi=multi)}
    return known.get("ece")


def _title(new: Evaluation) -> str:
    return _("v%(n)d side by side") % {"n": new.version.number}
