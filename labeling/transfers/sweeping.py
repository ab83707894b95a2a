"""What crashed workers, a lost queue and the passing of time leave behind."""

from datetime import timedelta

from django.core.files.storage import default_storage
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Transfer
from labeling.transfers import ownership, queueing
from labeling.transfers.starting import FOLDER, KEPT, discard

MAX_ATTEMPTS = 5
"""Times that a transfer is begun before it is given up."""

UNCONFIRMED = timedelta(hours=2)
"""How long an uploaded file waits for somebody to confirm its import."""

State = Transfer.State


def sweep() -> list[int]:
    """Puts transfers back on the queue, and removes files that nobody needs any more.

    Running transfers that show no sign of life go back on the queue, and so do waiting
    ones that the queue no longer knows. Safe to run at any time and by many at once:
    each transfer is moved by a conditional update.

    Returns:
        The transfers that were put on the queue.
    """
    moved = []
    for transfer in Transfer.objects.filter(ownership.stale(), state=State.RUNNING):
        rows = Transfer.objects.filter(ownership.stale(), pk=transfer.pk)
        if _attempt(transfer) >= MAX_ATTEMPTS:
            rows.filter(state=State.RUNNING).update(
                state=State.FAILED,
                finished_at=Now(),
                error=_("Given up: its process died %(count)d times.")
                % {"count": _attempt(transfer)},
            )
        elif _requeue(transfer, rows):
            moved.append(transfer.pk)
    long_ago = Now() - timedelta(seconds=ownership.STALE_S)
    waiting = Transfer.objects.annotate(touched=Coalesce("beat_at", "created_at"))
    for transfer in waiting.filter(state=State.QUEUED, touched__lt=long_ago):
        if not queueing.is_waiting(transfer.pk, _attempt(transfer)) and _requeue(
            transfer, Transfer.objects.filter(pk=transfer.pk)
        ):
            moved.append(transfer.pk)
    _remove_files()
    return moved


def _requeue(transfer: Transfer, rows: QuerySet[Transfer]) -> bool:
    """Queues a transfer under a new job id; False if someone else was faster."""
    attempt = _attempt(transfer) + 1
    moved = rows.filter(state=transfer.state, beat_at=transfer.beat_at).update(
        state=State.QUEUED,
        beat_at=Now(),
        options={**transfer.options, "attempt": attempt},
    )
    if moved:
        queueing.put_on_commit(transfer.pk, attempt)
    return bool(moved)


def _attempt(transfer: Transfer) -> int:
    return int(transfer.options.get("attempt", 1))


def _remove_files() -> None:
    """Results after `KEPT`; at once, what belongs to a transfer that came to nothing.

    Uploads that nobody confirmed belong to no transfer at all.
    """
    over = Transfer.objects.filter(finished_at__isnull=False).exclude(stored_as="")
    useless = Q(kind=Transfer.Kind.IMPORT) | ~Q(state=State.SUCCEEDED)
    for transfer in over.filter(useless | Q(finished_at__lt=Now() - KEPT)):
        discard(transfer)
    try:
        _folders, names = default_storage.listdir(FOLDER)
    except FileNotFoundError:
        return
    known = set(
        Transfer.objects.exclude(stored_as="").values_list("stored_as", flat=True)
    )
    for name in names:
        path = f"{FOLDER}/{name}"
        if path in known:
            continue
        age = timezone.now() - default_storage.get_modified_time(path)
        if age > UNCONFIRMED:
            default_storage.delete(path)
