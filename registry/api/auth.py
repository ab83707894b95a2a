"""API keys that bring along what their project is served with."""

import copy
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request

from labeling.api.auth import ApiKeyAuthentication
from labeling.api.problems import Problem
from labeling.models import ApiKey
from registry.serving import keys
from registry.serving.engine import Target
from registry.serving.keys import Caller
from registry.serving.lookup import Away
from registry.serving.process import is_web


class ServingKeyAuthentication(ApiKeyAuthentication):
    """Key, project and active version: from memory in a web process, else one query."""

    def find(self, hash_: str) -> ApiKey | None:
        """Raises Problem (`unavailable`) for a key that nobody can look up now."""
        caller = find(hash_)
        if caller is None:
            return None
        key: Any = copy.copy(caller.key)  # the one in memory is everybody's
        key.project, key.target = caller.target.project, caller.target
        found: ApiKey = key
        return found

    def note_use(self, key: ApiKey) -> None:
        """In a web process the memory has noted it; the listener writes it down."""
        if not is_web():
            super().note_use(key)


def find(hash_: str) -> Caller | None:
    """The caller with this key's hash, if the key still works.

    Raises:
        Problem: `unavailable`: it is not in memory, and the database is away.
    """
    try:
        return keys.find(hash_)
    except Away:
        detail = _("The database is not available. Try again soon.")
        raise Problem(503, "unavailable", detail, retry_after_s=1) from None


def key_of(request: Request) -> ApiKey:
    """The key of a request that was let in."""
    key = request.auth
    assert isinstance(key, ApiKey)  # HasScope lets nobody else in
    return key


def target_of(request: Request) -> Target:
    """The project and version of a request that `ServingKeyAuthentication` let in."""
    key: Any = request.auth
    target: Target = key.target
    return target
