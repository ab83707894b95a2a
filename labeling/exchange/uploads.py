"""Uploaded files that wait for a confirmation, and what their import would do."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from django.contrib.auth.models import User
from django.core import signing
from django.core.files.storage import default_storage

from labeling import formats, transfers
from labeling.intake import ImportReport, import_rows
from labeling.models import Project, Transfer

CONFIRM_WITHIN = timedelta(hours=1)

PREVIEW_ROWS = 20_000
"""Lines that a preview looks at: about a second. The import looks at all."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import of the first lines would do."""

    report: ImportReport
    is_partial: bool
    """Whether there are more lines than were looked at."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file that waits for its confirmation, and what to do with it."""

    stored_as: str
    name: str
    size: int
    kind: str
    encoding: str
    project_id: int
    split: str
    create_intents: bool
    user_id: int

    @classmethod
    def keep(cls, values: dict[str, Any], user: User) -> "Upload":
        """Stores a form's file; the sweep drops those that nobody confirms."""
        return cls(
            *_stored(values["import_file"]),
            kind=values["format"],
            encoding=values["encoding"],
            project_id=values["project"].pk,
            split=values["split"],
            create_intents=values["create_intents"],
            user_id=user.pk,
        )

    @classmethod
    def confirmed(cls, token: str, user: User) -> "Upload":
        """The upload that a confirmation means.

        Raises:
            BadSignature: The token is not ours, too old, or somebody else's.
        """
        values = signing.loads(token, salt=__name__, max_age=CONFIRM_WITHIN)
        upload = cls(**values)
        if upload.user_id != user.pk:
            raise signing.BadSignature("another person's upload")
        return upload

    def token(self) -> str:
        """Carries the upload through the browser, where nobody can change it."""
        return signing.dumps(asdict(self), salt=__name__)

    def preview(self, project: Project) -> Preview:
        """What an import would do, by the first `PREVIEW_ROWS` lines; writes nothing.

        Raises:
            Unreadable: Nothing in the file can be read.
        """
        with default_storage.open(self.stored_as) as file:
            rows = formats.read(
                file,
                kind=self.kind,
                encoding=self.encoding,
                many=project.is_multi_intent,
            )
            report = import_rows(
                project,
                islice(rows, PREVIEW_ROWS),
                split=self.split or None,
                create_intents=self.create_intents,
                dry_run=True,
            )
            return Preview(report, is_partial=next(rows, None) is not None)

    def start(self, project: Project, *, by: User) -> Transfer:
        """Queues the import; a second call gives the first one's transfer.

        Raises:
            FileNotFoundError: The file is gone.
        """
        if not default_storage.exists(self.stored_as):
            raise FileNotFoundError(self.stored_as)
        return transfers.start_import(
            project,
            transfers.Stored(self.stored_as, self.name, self.size),
            format=self.kind,
            options={
                "encoding": self.encoding,
                "split": self.split,
                "create_intents": self.create_intents,
            },
            by=by,
        )

    def discard(self) -> None:
        """Deletes the file."""
        default_storage.delete(self.stored_as)


def _stored(file: Any) -> transfers.Stored:
    return transfers.keep(file)
