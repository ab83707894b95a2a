"""The training loop, from labelled questions to a folder with the trained model.

A loop of our own and not transformers' Trainer, for what Trainer has no place for: the
frozen layers' output is computed once and kept (`training.ml.frozen`), the head starts
from mean features, a run goes on from the middle of a pass with the same dropout, and a
cancel is heard at every step. Devices and processes come from Accelerate
(`training.ml.processes`); `tests/benchmarks/bench_trainer.py` compares the two.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from registry.onnx.tokens import TextEncoder
from training.ml import adapters, contrastive, distillation, metrics, objective
from training.ml import model as models
from training.ml.checkpoint import Checkpoints, Position
from training.ml.data import Rows
from training.ml.frozen import Lowered
from training.ml.interface import Epoch, Example, FitResult, Progress, TrainingError
from training.ml.processes import Processes, fast_matrices
from training.ml.reporter import Reporter
from training.recipe import Recipe

_ROWS_FOR_A_MEAN = 16
"""Rows of an intent whose mean features its head row starts from."""

_LARGEST_GRADIENT = 1.0
"""Gradients are scaled down to this norm, so that one odd batch does little harm."""


@fast_matrices()
def fit(
    *,
    train: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[str],
    multi: bool,
    base: Path,
    parent: Path | None,
    recipe: Recipe,
    out: Path,
    checkpoints: Path | None,
    report: Callable[[Progress], None],
) -> FitResult:
    """Train a classifier and write it to `out`.

    Args:
        train: rows to learn from.
        validation: rows to choose the best epoch by; may be empty.
        labels: the intents, in the order of the model's outputs.
        multi: whether a question may have any number of intents (sigmoid) or has
            exactly one (softmax).
        base: folder of the base model (see `training.ml.base.resolve`).
        parent: folder of an earlier version to go on from; its intents are found by
            name, new ones get a head row made from their examples.
        recipe: the knobs.
        out: folder for the result: config.json, model.safetensors, tokenizer.json,
            head.safetensors, labels.json.
        checkpoints: folder for the state of an unfinished run, or None. A call with
            the same arguments goes on from what it finds there. The caller removes it.
        report: told the progress at every step; whatever it raises ends the run.

    Where `accelerate launch` started several processes, all of them call this with the
    same arguments; the main one alone reports and writes.

    Raises:
        TrainingError: the rows or the recipe cannot give a model.
    """
    started = time.monotonic()
    _check(train, validation, labels, multi=multi)
    processes = Processes(recipe.precision)
    device = processes.device
    torch.manual_seed(recipe.seed)
    source = parent or base
    progress = Reporter(
        report if processes.is_main else _say_nothing, recipe.total_steps(len(train))
    )

    # --- Data: token ids of each row, targets (N, C).
    progress.phase("prepare")
    max_length = min(recipe.max_length, models.position_limit(source))
    text_encoder = TextEncoder(source, max_length=max_length)
    rows = Rows(train, labels, text_encoder)

    # --- Model: the frozen layers run once, the head starts from mean features.
    model = models.load(source, len(labels), recipe, device)
    with processes.autocast():
        lowered = Lowered(model, rows, processes, progress.tick)
        held_out = None
        if validation:
            held_out = Lowered(
                model, Rows(validation, labels, text_encoder), processes, progress.tick
            )
        means = _mean_features(lowered, progress)  # (C, H)
    before = models.read_parent(parent) if parent is not None else None
    models.init_head(model, labels, means, before, fresh=recipe.new_rows == "fresh")
    teacher = None
    if before is not None and recipe.distillation:
        known = [label in before.labels for label in labels]
        teacher = distillation.teach(lowered, known, multi=multi)
    weights = None
    if recipe.class_balance == "weights":
        weights = objective.weights(rows.targets).to(device)  # (C,)

    # --- Optimizer: two learning rates, no decay on biases and norms.
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(_groups(trained, recipe), fused=device.type != "mps")
    total_steps = recipe.total_steps(len(rows))
    passes = -(-total_steps // -(-len(rows) // recipe.batch_size))
    # Few rows make for many short passes: validate `epochs` times all the same.
    passes_per_validation = max(1, -(-passes // recipe.epochs))

    # --- Take up an unfinished run.
    store, at = None, Position()
    best: dict[str, torch.Tensor] = {}
    if checkpoints is not None:
        run = _run_digest(train, validation, labels, multi, source, recipe)
        found = Checkpoints(checkpoints, run=run)
        at, best = found.restore(trained, optimizer)
        processes.check_same(at.step)
        store = found if processes.is_main else None
    processes.scatter_seeds(recipe.seed, at.step)
    resumed_from = at.step
    progress.start_training(at)
    saved_at = time.monotonic()

    # --- Training.
    while not at.finished:
        batches = _batches(rows, recipe, np.random.default_rng((recipe.seed, at.epoch)))
        for batch in batches[at.batch :]:
            model.train()
            optimizer.zero_grad(set_to_none=True)
            batch_loss = torch.zeros((), device=device)
            for part in processes.parts(batch, recipe.gradient_accumulation):
                wanted = torch.from_numpy(rows.targets[part]).to(device)  # (B, C)
                with processes.autocast():
                    features = lowered.features(part)  # (B, H)
                    logits = model.classify(features)  # (B, C)
                loss = _loss(features, logits, wanted, weights, multi, recipe)
                if teacher is not None:
                    moved = teacher.loss(part, logits.float())
                    loss = loss + recipe.distillation * moved
                loss *= len(part) / len(batch)
                loss.backward()
                batch_loss += loss.detach()
            processes.add_up_gradients(trained.values(), batch_loss)
            norm = torch.nn.utils.clip_grad_norm_(trained.values(), _LARGEST_GRADIENT)
            value, size = torch.stack([batch_loss, norm]).tolist()
            if not (math.isfinite(value) and math.isfinite(size)):
                what = "gradients are" if math.isfinite(value) else "loss is"
                raise TrainingError(
                    f"The {what} no longer a number at step {at.step + 1}: lower the"
                    " learning rates (encoder_lr, head_lr)."
                )
            factor = _schedule(at.step, total_steps, recipe.warmup_fraction)
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            optimizer.step()

            at.step += 1
            at.batch += 1
            at.loss_sum += value
            at.loss_steps += 1
            progress.step(at, value)
            due = time.monotonic() - saved_at >= recipe.checkpoint_every_s
            if store is not None and due:
                store.write(at, trained, optimizer, best)
                saved_at = time.monotonic()
            if at.step >= total_steps:
                break

        # --- End of a pass: is it the best one yet?
        last = at.step >= total_steps
        if last or at.epoch % passes_per_validation == 0:
            scores = _validate(lowered=held_out, multi=multi, progress=progress)
            line = Epoch(
                at.epoch, at.step, at.loss_sum / max(at.loss_steps, 1), *scores
            )
            at.history.append(line)
            at.loss_sum, at.loss_steps = 0.0, 0
            progress.validated(line)
            if metrics.is_better(line, at.best, rows=len(validation), is_last=last):
                at.best, at.worse = line, 0
                # Without validation, or at the end, the weights at hand are the best.
                best = {}
                if line.macro_f1 is not None and not last:
                    best = {
                        name: p.detach().cpu().clone() for name, p in trained.items()
                    }
            else:
                at.worse += 1
            stop = 0 < recipe.early_stopping_patience <= at.worse
            at.finished = last or stop
        at.epoch, at.batch = at.epoch + 1, 0
        if at.finished and store is not None and store.is_open:
            store.write(at, trained, optimizer, best)

    # --- The best weights, as a folder.
    progress.phase("save")
    with torch.no_grad():
        for name, tensor in best.items():
            trained[name].copy_(tensor)
    if processes.is_main:
        adapters.merge(model.encoder)
        models.save(
            model.cpu(),
            out,
            source=source,
            labels=labels,
            multi=multi,
            max_length=max_length,
        )
    assert at.best is not None  # the last pass always sets one
    return FitResult(
        steps=at.step,
        epochs=at.epoch - 1,
        best_epoch=at.best.epoch,
        accuracy=at.best.accuracy,
        macro_f1=at.best.macro_f1,
        seconds=time.monotonic() - started,
        device=device.type,
        processes=processes.count,
        precision=processes.precision,
        resumed_from_step=resumed_from,
        history=at.history,
    )


def _say_nothing(progress: Progress) -> None:
    """What the processes beside the main one report."""


def _check(
    train: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[str],
    *,
    multi: bool,
) -> None:
    if not train:
        raise TrainingError("There are no labelled questions to train on.")
    if len(set(labels)) != len(labels):
        raise TrainingError("An intent is named twice among the intents to train.")
    if not multi:
        for example in (*train, *validation):
            if len(example.labels) != 1:
                raise TrainingError(
                    f"A question has {len(example.labels)} intents; in a single-intent"
                    " project each has exactly one."
                )
    if len({frozenset(example.labels) for example in train}) < 2:
        raise TrainingError(
            "All questions to train on have the same intent: a model needs at least"
            " two to tell apart."
        )


def _mean_features(lowered: Lowered, progress: Reporter) -> torch.Tensor:
    """Return the mean feature of each intent, (C, H) on the CPU; NaN if it has none."""
    targets = lowered.rows.targets  # (N, C)
    # The first rows of each intent are enough for a mean, and all of few.
    ranks = np.where(targets, targets.cumsum(axis=0), 0)
    wanted = np.flatnonzero(
        ((ranks > 0) & (ranks <= _ROWS_FOR_A_MEAN)).any(axis=1)
    ).tolist()
    sums = torch.zeros(targets.shape[1], lowered.model.head.in_features)
    counts = torch.zeros(targets.shape[1], 1)
    for batch, features in lowered.all_features(wanted):
        member = torch.from_numpy(targets[batch]).float()  # (B, C)
        sums += member.T @ features.float().cpu()
        counts += member.sum(dim=0).unsqueeze(1)
        progress.tick()
    lowered.processes.add_up(sums)
    lowered.processes.add_up(counts)
    return sums / counts.where(counts > 0, torch.nan)


def _groups(
    trained: dict[str, torch.nn.Parameter], recipe: Recipe
) -> list[dict[str, object]]:
    groups = []
    for head in (False, True):
        for matrix in (False, True):
            params = [
                parameter
                for name, parameter in trained.items()
                if name.startswith("head.") == head and (parameter.ndim >= 2) == matrix
            ]
            groups.append(
                {
                    "params": params,
                    "peak_lr": recipe.head_lr if head else recipe.encoder_lr,
                    "weight_decay": recipe.weight_decay if matrix else 0.0,
                }
            )
    return [group for group in groups if group["params"]]


def _schedule(step: int, total: int, warmup_fraction: float) -> float:
    """Return the share of the peak learning rate: up linearly, then down to zero."""
    warmup = warmup_fraction * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (total - step) / max(total - warmup, 1.0)


def _batches(
    rows: Rows, recipe: Recipe, generator: np.random.Generator
) -> list[list[int]]:
    """Return an epoch's batches; for the contrastive loss rows of an intent meet."""
    if recipe.contrastive_weight:
        lengths = [len(ids) for ids in rows.ids]
        return contrastive.batches(rows.targets, lengths, recipe.batch_size, generator)
    return rows.shuffled(
        recipe.batch_size, generator, balanced=recipe.class_balance == "sampling"
    )


def _loss(
    features: torch.Tensor,
    logits: torch.Tensor,
    wanted: torch.Tensor,
    weights: torch.Tensor | None,
    multi: bool,
    recipe: Recipe,
) -> torch.Tensor:
    """Return the mean loss () of features (B, H) and logits (B, C)."""
    total = objective.loss(
        logits.float(),
        wanted,
        weights,
        multi=multi,
        label_smoothing=recipe.label_smoothing,
    )
    if recipe.contrastive_weight:
        total = total + recipe.contrastive_weight * contrastive.loss(
            features.float(), wanted, recipe.contrastive_temperature
        )
    return total


def _validate(
    *, lowered: Lowered | None, multi: bool, progress: Reporter
) -> tuple[float | None, float | None]:
    """Return accuracy and macro-F1 on the held-out rows; None without any."""
    if lowered is None:
        return None, None
    progress.phase("validate")
    model, truth = lowered.model, lowered.rows.targets
    logits = torch.zeros(truth.shape)  # (N, C)
    with lowered.processes.autocast():
        for batch, features in lowered.all_features():
            with torch.inference_mode():
                logits[batch] = model.classify(features).float().cpu()
            progress.tick()
    lowered.processes.add_up(logits)
    progress.phase("train")
    chosen = metrics.answers(logits.numpy(), multi=multi)
    return metrics.accuracy(truth, chosen), metrics.macro_f1(truth, chosen)


def _run_digest(
    train: Sequence[Example],
    validation: Sequence[Example],
    labels: Sequence[str],
    multi: bool,
    source: Path,
    recipe: Recipe,
) -> str:
    """Identify a run by all that it depends on, but for the weights it starts from."""
    digest = hashlib.sha256()
    size = (source / "model.safetensors").stat().st_size
    head = [recipe.to_dict(), list(labels), multi, size, len(train)]
    digest.update(json.dumps(head, sort_keys=True).encode())
    for example in (*train, *validation):
        row = json.dumps([example.text, *example.labels])
        digest.update(row.encode())
    return digest.hexdigest()
