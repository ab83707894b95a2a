"""Which rows a batch trains on: all, or the new ones and some old ones again."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labeling.models import Dataset, DatasetItem, IntentAlias
from registry.models import Version
from training.ml.interface import Example

STRATIFIED, RANDOM, HARDEST = "stratified", "random", "hardest"
"""What `Recipe.replay_order` may say."""


Difficulty = Callable[[Sequence[Example]], Sequence[float]]
"""How hard each row is for the version that training goes on from; larger is harder."""


@dataclass(frozen=True)
class Selection:
    """The rows of a run."""

    train: list[Example]
    validation: list[Example]
    new: int
    """Train rows that the version trained from has not learned."""
    replayed: int
    """Train rows that it has, and that are learned again."""


def select(
    dataset: Dataset,
    *,
    parent: Version | None,
    replay: float | None,
    seed: int,
    order: str = STRATIFIED,
    difficulty: Difficulty | None = None,
) -> Selection:
    """The rows of a dataset that a batch trains on.

    The choice depends on its arguments alone, so that a resumed run sees the same rows.

    Args:
        dataset: Frozen; items in the order of their ids.
        parent: The version that training goes on from, if any.
        replay: Old rows for each new one (0.5 = one for two), but at least one of each
            old intent, so that a handful of new rows has something to be told apart
            from. 0.0 for none, None for all rows.
        seed: Seed of the choice.
        order: Which old rows: `stratified` (the intents as evenly as they allow),
            `random`, or `hardest` (one of each intent, then those that the parent is
            least sure of).
        difficulty: Asked only for `hardest`.

    Cost: three queries; for `hardest` the parent answers every old row.
    """
    items = list(
        DatasetItem.objects.filter(dataset=dataset)
        .order_by("id")
        .only("id", "question_id", "text", "codes", "split", "is_new")
    )
    train = [item for item in items if item.split == DatasetItem.Split.TRAIN]
    validation = [i for i in items if i.split == DatasetItem.Split.VALIDATION]
    chosen, new = train, len(train)
    if parent is not None:
        old = _learned(train, parent)
        fresh = [item for item in train if item.pk not in old]
        new = len(fresh)
        # Without anything new, a batch goes over all there is.
        if replay is not None and fresh:
            known = [item for item in train if item.pk in old]
            count = _count(known, new, replay)
            if order == HARDEST and difficulty is not None:
                hard = difficulty([_example(item) for item in known])
                again = hardest(known, hard, count=count)
            elif order == RANDOM:
                again = at_random(known, count=count, seed=seed)
            else:
                again = stratified(known, count=count, seed=seed)
            chosen = sorted([*fresh, *again], key=lambda item: item.pk)
    return Selection(
        train=[_example(item) for item in chosen],
        validation=[_example(item) for item in validation],
        new=new,
        replayed=len(chosen) - new,
    )


def _count(known: Sequence[DatasetItem], new: int, replay: float) -> int:
    if not replay:
        return 0
    return max(round(replay * new), len({json.dumps(item.codes) for item in known}))


def stratified(
    items: Sequence[DatasetItem], *, count: int, seed: int
) -> list[DatasetItem]:
    """Draws `count` items, the intents as evenly as their numbers allow.

    Intents are gone through in turn, one item of each a round, so that a rare intent is
    replayed as often as a common one until it has no more.
    """
    generator = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    strata: dict[str, list[DatasetItem]] = defaultdict(list)
    for item in items:
        strata[json.dumps(item.codes)].append(item)
    for members in strata.values():
        generator.shuffle(members)
    order = sorted(strata)
    drawn: list[DatasetItem] = []
    while order and len(drawn) < count:
        generator.shuffle(order)
        for key in order[: count - len(drawn)]:
            drawn.append(strata[key].pop())
        order = sorted(key for key in order if strata[key])
    return drawn


def at_random(
    items: Sequence[DatasetItem], *, count: int, seed: int
) -> list[DatasetItem]:
    """Draws `count` items, each as likely as any other."""
    generator = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    return generator.sample(list(items), min(count, len(items)))


def hardest(
    items: Sequence[DatasetItem], hard: Sequence[float], *, count: int
) -> list[DatasetItem]:
    """Takes the hardest item of each intent, then the hardest of all others."""
    ranked = [
        item
        for _hard, item in sorted(
            zip(hard, items, strict=True), key=lambda pair: (-pair[0], pair[1].pk)
        )
    ]
    firsts: dict[str, DatasetItem] = {}
    for item in ranked:
        firsts.setdefault(json.dumps(item.codes), item)
    taken = {item.pk for item in firsts.values()}
    rest = [item for item in ranked if item.pk not in taken]
    return [*firsts.values(), *rest][:count]


def _learned(train: Sequence[DatasetItem], parent: Version) -> set[int]:
    """Items that the parent was trained on, with the intents that they have now.

    By the parent's own dataset, not by what any version learned: a version that never
    served may have learned labels that this parent has not seen. A dataset is a
    snapshot of all labels, so the parent's covers its own ancestors'.
    """
    trained_on = parent.provenance.get("dataset", {}).get("id")
    if trained_on is None:  # imported from elsewhere: nothing is known of its rows
        return {item.pk for item in train if not item.is_new}
    # A renamed intent is no new one, and two merged ones are one.
    today = dict(
        IntentAlias.objects.filter(project=parent.project_id).values_list(
            "code", "intent__code"
        )
    )
    # Nobody asked a synthetic question: it is known by its text alone.
    known = {
        question or text: sorted({today.get(code, code) for code in codes})
        for question, text, codes in DatasetItem.objects.filter(
            dataset_id=trained_on, split=DatasetItem.Split.TRAIN
        ).values_list("question_id", "text", "codes")
    }
    return {
        item.pk
        for item in train
        if known.get(item.question_id or item.text) == sorted(item.codes)
    }


def _example(item: DatasetItem) -> Example:
    return Example(item.text, tuple(item.codes))
