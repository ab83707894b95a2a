"""The verdict: all rules together, and what a version learns of it."""

from typing import Any

from django.db import transaction

from labeling.labels import broken
from labeling.models import Project
from registry.models import Evaluation, Version
from training import evaluation
from training.gate import rules as each
from training.gate.rules import Reason
from training.models import GateRules


def rules_of(project: Project) -> GateRules:
    """The project's rules; the defaults, unsaved, where it has none. One query."""
    found = GateRules.objects.filter(project=project).first()
    return found or GateRules(project=project)


def verdict(
    measured: dict[str, Any],
    *,
    comparison: dict[str, Any] | None,
    export: dict[str, Any] | None,
    rules: GateRules,
) -> list[Reason]:
    """What each rule says of a version.

    Args:
        measured: From `evaluation.appraise`, on the test questions.
        comparison: From `evaluation.compare` with the active version; None without one.
        export: `served`, `int8_kept` and `agreement` of the export; None when unknown.
        rules: The project's.
    """
    reasons: list[Reason | None] = [
        each.enough(measured, rules, replaces=comparison is not None)
    ]
    if measured["n"] and rules.beats_floor:
        reasons += [each.beats_majority(measured), each.beats_floor(measured)]
    if measured["n"] and comparison is not None:
        reasons += [
            each.no_loss(comparison, rules),
            each.no_intent_lost(comparison, rules),
            each.little_forgotten(comparison, rules),
            each.calibration_kept(comparison, rules),
            each.out_of_scope_kept(comparison, rules),
        ]
    if export is not None:
        reasons.append(each.int8_agrees(export, rules))
    return [reason for reason in reasons if reason is not None]


def passed(reasons: list[Reason]) -> bool:
    """Whether all rules are content."""
    return all(reason["passed"] for reason in reasons)


def gate_of(reasons: list[Reason]) -> str:
    """The state that the reasons add up to."""
    return Version.Gate.PASSED if passed(reasons) else Version.Gate.REFUSED


def reasons_for(
    appraisal: evaluation.Appraisal, *, export: dict[str, Any] | None
) -> list[Reason]:
    """What the project's rules say of a version that was measured on the test
    questions. One query."""
    return verdict(
        appraisal.measured,
        comparison=appraisal.comparison,
        export=export,
        rules=rules_of(appraisal.project),
    )


@transaction.atomic
def keep(
    version: Version, appraisal: evaluation.Appraisal, reasons: list[Reason]
) -> Evaluation:
    """Writes a verdict on the version, keeps the measurement that it rests on, and puts
    the questions that the version breaks before the reviewers.

    Cost: half a dozen statements, and one for each 2,000 test questions.
    """
    version.gate = gate_of(reasons)
    version.gate_reasons = reasons
    version.save(update_fields=["gate", "gate_reasons"])
    kept = evaluation.record(version, appraisal, kind=Evaluation.Kind.TEST)
    if appraisal.comparison is not None:
        broken.mark(version.project, version.number, appraisal.broken)
    return kept


def judge(version: Version) -> Version:
    """Measures a version and the active one on the same test questions, and decides.

    Keeps one evaluation of `version`, and the verdict with its reasons on it. Takes
    seconds to a minute: both models answer every test question, and the floor is
    trained anew.

    Raises:
        registry.artifacts.ArtifactError, registry.onnx.session.ArtifactError
    """
    appraisal = evaluation.appraise_version(version)
    reasons = reasons_for(appraisal, export=version.provenance.get("export"))
    keep(version, appraisal, reasons)
    return version
