"""Admin pages of accounts and groups, in unfold's look; for superusers."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(BaseUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """Accounts of people; those that API keys act as are left out."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    compressed_fields = False
    list_filter_submit = True
    list_display = ("username", "email", "is_active", "is_superuser", "last_login")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Permissions come by role; single ones would only hide who may do what."""
        fieldsets = super().get_fieldsets(request, obj)
        return [
            (
                name,
                {
                    **options,
                    "fields": [f for f in options["fields"] if f != "user_permissions"],
                },
            )
            for name, options in fieldsets
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return people(super().get_queryset(request))


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):
    """The three roles' permissions; `migrate` brings them back to the product's own."""


def people(users: QuerySet[Any]) -> QuerySet[Any]:
    """Those of the accounts that people sign in with."""
    return users.exclude(username__startswith="key:")
