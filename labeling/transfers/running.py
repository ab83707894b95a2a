"""What a worker does with a transfer, from its claim to its end."""

import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import PurePath
from typing import IO, Any, TypeVar
from uuid import uuid4

from django.core.files import File
from django.core.files.storage import default_storage
from django.utils import translation
from django.utils.translation import gettext as _

from labeling import formats
from labeling.intake import ImportReport, import_rows
from labeling.models import Transfer
from labeling.transfers import exporting
from labeling.transfers.ownership import Claim, Heartbeat, Stopped
from labeling.transfers.starting import FOLDER, discard

State = Transfer.State
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


def run(transfer_id: int) -> bool:
    """Runs a transfer to its end; False if somebody else has it or it is finished.

    An import or export that was cut off begins anew: an import changes nothing for the
    rows that it took in before.
    """
    claim = Claim.take(transfer_id)
    if claim is None:
        return False
    transfer = Transfer.objects.select_related("project", "by").get(pk=transfer_id)
    with translation.override(transfer.options.get("language")):
        _Run(transfer, claim).to_its_end()
    return True


class _Run:
    """One attempt at a transfer, and how far it is."""

    def __init__(self, transfer: Transfer, claim: Claim) -> None:
        self._transfer, self._claim = transfer, claim
        self._started = time.monotonic()
        self._done = 0
        self._total = transfer.total
        self._rows = 0

    def to_its_end(self) -> None:
        """Runs, and writes down what came of it."""
        transfer, claim = self._transfer, self._claim
        changes: dict[str, Any] = {}
        try:
            with Heartbeat(claim, self._state) as heartbeat:
                try:
                    if transfer.kind == Transfer.Kind.IMPORT:
                        changes = self._import(heartbeat)
                    else:
                        changes = self._export(heartbeat)
                except Exception:
                    # A statement that the heartbeat cancelled is no failure.
                    heartbeat.check()
                    raise
            state = State.SUCCEEDED
        except Stopped:
            self._stopped()
            return
        except (formats.Unreadable, formats.Unwritable) as error:
            state, changes = State.FAILED, {"error": str(error)}
        except FileNotFoundError:
            state, changes = State.FAILED, {"error": _("The file is no longer there.")}
        except Exception as error:
            _logger.exception("transfer %s failed", transfer.pk)
            state = State.FAILED
            changes = {"error": f"{type(error).__name__}: {error}"[:2000]}
        changes = {**self._state(), **changes}
        is_ended = claim.end(state, **changes)
        if transfer.kind == Transfer.Kind.IMPORT:
            if is_ended:
                discard(transfer)
        elif not is_ended and changes.get("stored_as"):
            default_storage.delete(changes["stored_as"])

    def _stopped(self) -> None:
        """Tidies up after a cancel; what somebody else took over is theirs."""
        self._transfer.refresh_from_db()
        if self._transfer.state == State.CANCELLED:
            discard(self._transfer)

    def _state(self) -> dict[str, Any]:
        """The progress, as the row holds it."""
        return {
            "done": self._done,
            "total": self._total,
            "report": {"rows": self._rows, "elapsed_s": self._elapsed_s()},
        }

    def _elapsed_s(self) -> float:
        return round(time.monotonic() - self._started, 1)

    def _import(self, heartbeat: Heartbeat) -> dict[str, Any]:
        transfer, options = self._transfer, self._transfer.options
        with default_storage.open(transfer.stored_as) as file:
            rows = formats.read(
                file,
                kind=transfer.format,
                encoding=options.get("encoding") or "utf-8",
                many=transfer.project.is_multi_intent,
            )

            def progress(count: int) -> None:
                self._rows = count
                # Of an XLSX file the table of texts is read before the first row.
                self._done = min(self._total, max(self._done, file.tell()))

            report = import_rows(
                transfer.project,
                _checked(rows, heartbeat),
                split=options.get("split") or None,
                create_intents=bool(options.get("create_intents")),
                require_labels=bool(options.get("require_labels")),
                by=transfer.by,
                progress=progress,
            )
        return {
            "done": self._total,
            "report": {**as_json(report), "elapsed_s": self._elapsed_s()},
        }

    def _export(self, heartbeat: Heartbeat) -> dict[str, Any]:
        transfer = self._transfer

        def begin(count: int) -> None:
            self._total = count

        def progress(count: int) -> None:
            heartbeat.check()
            self._done = self._rows = count

        with tempfile.TemporaryFile() as file:
            report = exporting.export(
                transfer.project,
                file,
                kind=transfer.format,
                selection=exporting.Selection.of(transfer.options),
                mark=transfer.format == "csv",
                begin=begin,
                progress=progress,
            )
            size = file.tell() if transfer.format != "xlsx" else _size(file)
            file.seek(0)
            heartbeat.check()
            suffix = PurePath(transfer.file_name).suffix
            stored_as = default_storage.save(
                f"{FOLDER}/{uuid4().hex}{suffix}", File(file)
            )
        return {
            "stored_as": stored_as,
            "size": size,
            "report": {**asdict(report), "elapsed_s": self._elapsed_s()},
        }


def as_json(report: ImportReport) -> dict[str, Any]:
    """An import's report as a transfer keeps it."""
    return asdict(report)


def _checked(rows: Iterator[_T], heartbeat: Heartbeat) -> Iterator[_T]:
    for row in rows:
        if heartbeat.is_lost:
            raise Stopped
        yield row


def _size(file: IO[bytes]) -> int:
    return file.seek(0, 2)
