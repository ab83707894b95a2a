"""A transfer as a manager asks for it: start, cancel."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import uuid4

from django.contrib.auth.models import User
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from labeling import formats
from labeling.models import Project, Transfer
from labeling.transfers import exporting, queueing

KEPT = timedelta(days=7)
"""How long the file of an export can be downloaded."""

FOLDER = "transfers"
"""In the file storage."""

State = Transfer.State


class WrongState(Exception):
    """The transfer is finished; the message is for a manager."""


class Stored(NamedTuple):
    """A file in the file storage."""

    stored_as: str
    name: str
    size: int


def keep(file: "File[Any]") -> Stored:
    """Puts a file into the file storage, under a name that nobody can guess."""
    name = PurePath(file.name or "").name
    suffix = PurePath(name).suffix.lower()[:10]
    stored_as = default_storage.save(f"{FOLDER}/{uuid4().hex}{suffix}", file)
    return Stored(stored_as, name, default_storage.size(stored_as))


def start_import(
    project: Project,
    file: "File[Any] | Stored",
    *,
    format: str,
    options: Mapping[str, Any] | None = None,
    by: User,
) -> Transfer:
    """Queues an import of a file.

    Args:
        project: Takes the questions.
        file: Is kept in the file storage until the import has ended; a `Stored` one
            belongs to the transfer from now on.
        format: One of `formats.KINDS`.
        options: `encoding`, and `split`, `create_intents` and `require_labels` as
            `intake.import_rows` takes them.
        by: Who asks for it, and sets the labels.

    Raises:
        ValueError: There is no such format.
    """
    if format not in formats.KINDS:
        raise ValueError(f"no format {format}")
    stored = file if isinstance(file, Stored) else keep(file)
    return _queue(
        project,
        Transfer.Kind.IMPORT,
        format=format,
        options=options,
        by=by,
        stored_as=stored.stored_as,
        file_name=stored.name[:200],
        size=stored.size,
        total=stored.size,
    )


def start_export(
    project: Project,
    *,
    format: str,
    options: Mapping[str, Any] | None = None,
    by: User,
) -> Transfer:
    """Queues an export; its file can be downloaded for `KEPT`.

    Args:
        project: Whose questions.
        format: One of `exporting.KINDS`.
        options: The fields of an `exporting.Selection`.
        by: Who asks for it.

    Raises:
        ValueError: There is no such format.
    """
    if format not in exporting.KINDS:
        raise ValueError(f"no format {format}")
    suffix = formats.SUFFIXES.get(format, ".full.jsonl")
    now = timezone.localtime()
    return _queue(
        project,
        Transfer.Kind.EXPORT,
        format=format,
        options=exporting.Selection.of(options or {}).as_options(),
        by=by,
        file_name=f"{project.slug}-{now:%Y%m%d-%H%M}{suffix}",
    )


@transaction.atomic
def _queue(
    project: Project,
    kind: str,
    *,
    options: Mapping[str, Any] | None,
    **values: Any,
) -> Transfer:
    if stored_as := values.get("stored_as"):
        # Who confirms twice at once queues up here; the second gets the first's.
        Project.objects.select_for_update().get(pk=project.pk)
        there = Transfer.objects.filter(project=project, stored_as=stored_as).first()
        if there is not None:
            return there
    transfer = Transfer.objects.create(
        project=project,
        kind=kind,
        # The report is written in the language of whoever asked for it.
        options={**(options or {}), "language": get_language(), "attempt": 1},
        **values,
    )
    queueing.put_on_commit(transfer.pk, 1)
    return transfer


def cancel(transfer: Transfer, *, by: User) -> None:
    """Ends a transfer; a running one notices within seconds.

    What an import has written by then stays.

    Raises:
        WrongState: It is finished already.
    """
    options = {**transfer.options, "cancelled_by": by.get_username()}
    if not Transfer.objects.filter(
        pk=transfer.pk, state__in=[State.QUEUED, State.RUNNING]
    ).update(state=State.CANCELLED, finished_at=Now(), options=options):
        raise WrongState(_("This is finished already."))


def discard(transfer: Transfer) -> None:
    """Deletes the transfer's file; a second call changes nothing."""
    if transfer.stored_as:
        default_storage.delete(transfer.stored_as)
        Transfer.objects.filter(pk=transfer.pk, stored_as=transfer.stored_as).update(
            stored_as=""
        )
