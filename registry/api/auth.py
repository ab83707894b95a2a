"""API keys that bring along what their project is served with."""

from typing import Any

from django.db.models import F, FilteredRelation, Q, QuerySet
from rest_framework.request import Request

from labeling.api.auth import ApiKeyAuthentication
from labeling.models import ApiKey
from registry.models import Version
from registry.serving.engine import Target


class ServingKeyAuthentication(ApiKeyAuthentication):
    """Key, project and active version in one query: what a request is answered with."""

    def keys(self) -> QuerySet[ApiKey]:
        return (
            super()
            .keys()
            .defer("project__guidelines", "project__description")
            .annotate(
                active=FilteredRelation(
                    "project__versions",
                    condition=Q(project__versions__state=Version.State.ACTIVE),
                ),
                active_id=F("active__id"),
                active_number=F("active__number"),
            )
        )


def key_of(request: Request) -> ApiKey:
    """The key of a request that was let in."""
    key = request.auth
    assert isinstance(key, ApiKey)  # HasScope lets nobody else in
    return key


def target_of(request: Request) -> Target:
    """The project and version of a request that `ServingKeyAuthentication` let in."""
    key: Any = request.auth  # with the two columns that `keys` adds
    return Target(key.project, key.active_id, key.active_number)
