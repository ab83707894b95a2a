"""The model card: what a version is, on one page that travels with its files."""

from typing import Any

from training.models import TrainingBatch


def write(
    batch: TrainingBatch,
    *,
    provenance: dict[str, Any],
    measured: dict[str, Any],
) -> str:
    """Markdown in English with a YAML head, as the Hugging Face hub reads it.

    Args:
        batch: Whose result it is.
        provenance: What will stand on the version.
        measured: From `evaluation.measure` on the test questions.
    """
    dataset, fit = provenance["dataset"], provenance["fit"]
    export = provenance["export"]
    parent = provenance.get("parent")
    lines = [
        "---",
        "pipeline_tag: text-classification",
        "library_name: onnxruntime",
        "---",
        "",
        f"# Intent model of {batch.project.name}",
        "",
        f"Answers {len(dataset['label_set'])} intents"
        f" ({'several' if batch.project.is_multi_intent else 'one'} a question).",
        "",
        "## Where it comes from",
        "",
        f"- Base model: `{provenance['base']}`",
        f"- Trained from: {'version ' + str(parent) if parent else 'the base model'}",
        f"- Dataset: `{dataset['digest']}`, {dataset['train']} train and"
        f" {dataset['validation']} validation questions"
        f" ({dataset['new']} new, {dataset['replayed']} replayed)",
        f"- Recipe: preset `{provenance['preset']}`, seed"
        f" {provenance['recipe']['seed']}, {fit['steps']} steps, best epoch"
        f" {fit['best_epoch']}",
        f"- Code: `{provenance['code_revision']}`, {_libraries(provenance)}",
        f"- Trained on {fit['device']} in {fit['seconds']:.0f} s, batch #{batch.pk}",
        "",
        "## What it was measured at",
        "",
        f"The file that serves is `{export['served']}`. {export['reason']}",
        "",
        *_measured(measured),
        "",
        "## Recipe",
        "",
        "| field | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in provenance["recipe"].items()),
        "",
        "## Limits",
        "",
        "Measured is the model alone on this project's own test questions, which no"
        " training saw. It answers only the intents above; anything else needs the"
        " out-of-scope intent or a threshold on its confidence.",
        "",
    ]
    return "\n".join(lines)


def _measured(measured: dict[str, Any]) -> list[str]:
    if not measured["n"]:
        return ["There were no labelled test questions."]
    outside = measured["out_of_scope"]
    rows = [
        ("test questions", str(measured["n"])),
        ("accuracy", _share(measured["accuracy"])),
        ("macro-F1", _share(measured["macro_f1"])),
        ("micro-F1", _share(measured.get("micro_f1"))),
        ("accuracy of the commonest intent", _share(measured["majority_accuracy"])),
        ("expected calibration error", _share(measured["calibration"]["ece"])),
        ("out-of-scope recall", _share(outside["recall"])),
        ("out-of-scope AUROC", _share(outside["auroc"])),
    ]
    lines = ["| measure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows if value]
    lines += ["", "| intent | precision | recall | F1 | n |", "|---|---|---|---|---|"]
    lines += [
        f"| {code} | {one['precision']:.3f} | {one['recall']:.3f} | {one['f1']:.3f}"
        f" | {one['n']} |"
        for code, one in measured["per_intent"].items()
    ]
    return lines


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _libraries(provenance: dict[str, Any]) -> str:
    found = provenance["libraries"]
    return ", ".join(
        f"{name} {found[name]}"
        for name in ("torch", "transformers", "onnxruntime")
        if name in found
    )
