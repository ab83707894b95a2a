"""`manage.py scheduler`: enqueues the periodic jobs until it is stopped."""

from typing import Any

from django.core.management.base import BaseCommand

from tuneloop.cron import scheduler


class Command(BaseCommand):
    help = "Enqueues the periodic jobs. A second one does no harm."

    def handle(self, *args: Any, **options: Any) -> None:
        scheduler().start()
