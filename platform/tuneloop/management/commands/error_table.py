"""`manage.py error_table`: the API's error codes, for registry/api/ERRORS.md."""

from typing import Any

from django.core.management.base import BaseCommand

from tuneloop.openapi import error_table

_HEAD = """# Errors of the API

Made from the code by `manage.py error_table`; a test compares. Errors are RFC 9457
problem objects (`application/problem+json`): `type`, `title`, `status`, `detail` (for
people, in the language of `Accept-Language`), `code` (stable: branch on it), `instance`
(`urn:request:` and the answer's `X-Request-Id`), and what the table names.

"""


class Command(BaseCommand):
    help = "Prints the error codes of the API as a Markdown table."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(_HEAD + error_table(), ending="")
