"""The tuneloop app: system checks, and groups that always fit the code."""

from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth.management import create_permissions
from django.core.checks import register
from django.db.models.signals import post_migrate


class TuneloopConfig(AppConfig):
    name = "tuneloop"
    verbose_name = "Tuneloop"

    def ready(self) -> None:
        from tuneloop import checks

        register(checks.check_environment)
        register(checks.check_deployment, deploy=True)
        # The last of our apps: by then the permissions of the others are there.
        post_migrate.connect(
            _sync_groups,
            sender=apps.get_app_config("training"),
            dispatch_uid="tuneloop.sync_groups",
        )


def _sync_groups(sender: AppConfig, **kwargs: Any) -> None:
    from labeling import access

    try:
        kwargs["apps"].get_model("training", "TrainingBatch")
        kwargs["apps"].get_model("auth", "Group")
    except LookupError:
        return  # migrated back to where there is nothing to permit
    create_permissions(sender, verbosity=0, using=kwargs["using"])
    access.sync_groups()
