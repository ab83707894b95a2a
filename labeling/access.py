"""Who may do what: roles by membership, client apps by hashed key."""

import hashlib
import secrets

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling import revision
from labeling.models import ApiKey, Membership, Project

Person = AbstractBaseUser | AnonymousUser

_RANK = {
    Membership.Role.ANNOTATOR: 1,
    Membership.Role.REVIEWER: 2,
    Membership.Role.MANAGER: 3,
}
_SCOPES = {
    ApiKey.Scope.CLASSIFY: 1,
    ApiKey.Scope.LABEL: 2,
    ApiKey.Scope.MANAGE: 3,
}

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "Annotator": {
        "view": ("project", "intent", "question"),
    },
    "Reviewer": {
        "view": ("project", "intent", "question", "annotation", "keywordrule", "lease"),
    },
    "Manager": {
        "view": (
            *("project", "intent", "intentalias", "question", "annotation"),
            *("dataset", "datasetitem", "goldlabel", "keywordrule", "lease"),
            *("membership", "apikey", "transfer"),
            *("slot", "template", "syntheticquestion", "paraphrasing"),
            *("version", "evaluation", "activation", "classificationlog", "feedback"),
            *("rollout", "replay", "tuning", "alarm"),
            *("servingprocess", "trainingbatch", "batchstep"),
            *("preset", "gaterules"),
        ),
        "add": (
            *("intent", "keywordrule", "membership", "apikey", "question"),
            *("slot", "template", "preset", "gaterules"),
        ),
        "change": (
            *("project", "intent", "keywordrule", "membership", "apikey"),
            *("slot", "template", "preset", "gaterules"),
        ),
        "delete": ("membership", "lease", "slot", "template", "preset", "gaterules"),
    },
}
"""Django permissions a group; which project they apply to is membership's business."""


def projects_for(
    user: Person, *, role: str = Membership.Role.ANNOTATOR
) -> QuerySet[Project]:
    """The projects in which a person has at least this role; all for a superuser."""
    if getattr(user, "is_superuser", False):
        return Project.objects.all()
    return Project.objects.filter(
        memberships__user_id=user.pk or 0, memberships__role__in=at_least(role)
    )


def at_least(role: str) -> list[str]:
    """The roles that include this one, itself among them."""
    return [own for own, rank in _RANK.items() if rank >= _RANK[Membership.Role(role)]]


def role_in(user: Person, project: Project) -> str | None:
    """The person's role in the project, or None. One query; none for a superuser."""
    if not user.is_active:
        return None
    if getattr(user, "is_superuser", False):
        return Membership.Role.MANAGER
    return (
        Membership.objects.filter(user_id=user.pk, project=project)
        .values_list("role", flat=True)
        .first()
    )


def may(user: Person, project: Project, role: str) -> bool:
    """Whether the person has at least this role in the project."""
    own = role_in(user, project)
    return (
        own is not None and _RANK[Membership.Role(own)] >= _RANK[Membership.Role(role)]
    )


def require(user: Person, project: Project, role: str) -> None:
    """Raises PermissionDenied unless the person has at least this role."""
    if not may(user, project, role):
        raise PermissionDenied(
            _("You need the role %(role)s in %(project)s for this.")
            % {"role": Membership.Role(role).label, "project": project}
        )


@transaction.atomic
def add_member(project: Project, user: User, *, role: str) -> Membership:
    """Gives a person a role in a project, and what they need to open the admin."""
    member, _created = Membership.objects.update_or_create(
        project=project, user=user, defaults={"role": Membership.Role(role)}
    )
    user.groups.add(Group.objects.get_or_create(name=role.capitalize())[0])
    if not user.is_staff:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
    return member


def hash_key(secret: str) -> str:
    """SHA-256 of a key; keys hold 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def issue_key(
    project: Project,
    *,
    name: str,
    scope: str,
    user: User | None = None,
    rate_limit: int | None = None,
) -> tuple[ApiKey, str]:
    """Makes an API key and returns it with its secret, which is shown only here.

    Without a user, the key acts as a service account of its own, which nobody can sign
    in with. For the rate limit see `limit_key`.
    """
    if user is None:
        user, created = get_user_model().objects.get_or_create(
            username=f"key:{project.slug}:{name}"[:150], defaults={"is_active": True}
        )
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
    secret = f"tl_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        project=project,
        name=name,
        scope=ApiKey.Scope(scope),
        prefix=secret[:10],
        hash=hash_key(secret),
        user=user,
        rate_limit=rate_limit,
    )
    return key, secret


@transaction.atomic
def revoke_key(key: ApiKey) -> None:
    """Ends a key at once; a second call changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    revision.announce(key.project_id)


@transaction.atomic
def limit_key(key: ApiKey, rate_limit: int | None) -> None:
    """Sets how many texts a minute a key may have classified; followed at once.

    Args:
        key: The key.
        rate_limit: None for the server's own limit, 0 for none.
    """
    ApiKey.objects.filter(pk=key.pk).update(rate_limit=rate_limit)
    revision.announce(key.project_id)


def scope_includes(scope: str, needed: str) -> bool:
    """Whether a key's scope covers what a call needs: manage > label > classify."""
    return _SCOPES[ApiKey.Scope(scope)] >= _SCOPES[ApiKey.Scope(needed)]


def sync_groups() -> None:
    """Brings the three groups' permissions to what `GROUPS` says; safe to repeat."""
    for name, actions in GROUPS.items():
        wanted = [
            f"{action}_{model}"
            for action, models in actions.items()
            for model in models
        ]
        group, _created = Group.objects.get_or_create(name=name)
        group.permissions.set(
            Permission.objects.filter(
                codename__in=wanted,
                content_type__app_label__in=("labeling", "registry", "training"),
            )
        )
