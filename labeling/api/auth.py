"""API keys: who calls, for which project, and how far the key reaches."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from labeling.access import hash_key, scope_includes
from labeling.api.problems import Problem
from labeling.models import ApiKey

if TYPE_CHECKING:  # rest_framework.views imports this module
    from rest_framework.views import APIView

KEYWORD = "Api-Key"
_USED_EVERY = timedelta(minutes=1)
"""A key's `last_used_at` is written at most this often, not on each request."""


def secret_of(authorization: str) -> str | None:
    """The key in an `Authorization` header; None if there is none of ours."""
    scheme, _space, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == KEYWORD.lower() else None


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key <key>`.

    Sets `request.auth` to the `ApiKey` with its project and `request.user` to the
    person or service account that it acts as. Cost: one query, once a minute two.
    """

    def find(self, hash_: str) -> ApiKey | None:
        """The key with this hash, if it still works; a subclass may read more along."""
        return (
            ApiKey.objects.select_related("project", "user")
            .filter(hash=hash_, revoked_at=None, user__is_active=True)
            .first()
        )

    def note_use(self, key: ApiKey) -> None:
        """Writes down when the key was used; a subclass may do it later."""
        now = timezone.now()
        if key.last_used_at is not None and now - key.last_used_at < _USED_EVERY:
            return
        # Conditional: of many requests in the same moment one writes.
        ApiKey.objects.filter(
            Q(last_used_at=None) | Q(last_used_at__lt=now - _USED_EVERY), pk=key.pk
        ).update(last_used_at=now)

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        """Raises AuthenticationFailed (`invalid_key`) for a wrong or revoked key."""
        secret = secret_of(request.headers.get("Authorization", ""))
        if secret is None:
            return None
        key = self.find(hash_key(secret))
        if key is None:
            raise exceptions.AuthenticationFailed(
                _("This API key is not valid. It may have been revoked."),
                code="invalid_key",
            )
        self.note_use(key)
        # Asked for by few; a subclass may not have read it along.
        return SimpleLazyObject(lambda: key.user), key

    def authenticate_header(self, request: Request) -> str:
        return f'{KEYWORD} realm="tuneloop"'


class HasScope(BasePermission):
    """The key's scope covers the view's `required_scope`: manage > label > classify.

    A view without `required_scope` is open to no key but manage.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raises NotAuthenticated (`key_missing`) or Problem (`scope_too_small`)."""
        if not isinstance(request.auth, ApiKey):
            raise exceptions.NotAuthenticated(
                _("Send an API key: “Authorization: Api-Key <key>”."),
                code="key_missing",
            )
        needed = getattr(view, "required_scope", ApiKey.Scope.MANAGE)
        if not scope_includes(request.auth.scope, needed):
            detail = _("This call needs a key with the scope “%(scope)s”.")
            raise Problem(403, "scope_too_small", detail % {"scope": needed})
        return True
