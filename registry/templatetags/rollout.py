"""The guard's alarms on any page of the admin."""

from typing import Any

from django import template
from django.template import Context

register = template.Library()

_SHOWN = 5


@register.filter
def reason(done: Any) -> str:
    """See `registry.rollout.alarms.reason`."""
    from registry.rollout import alarms as found

    return found.reason(done)


@register.inclusion_tag("registry/rollout_alarms.html", takes_context=True)
def alarms(context: Context, is_apart: bool = False) -> dict[str, Any]:
    """What managers have not read yet of their projects; one query.

    Args:
        context: With the request.
        is_apart: Whether to keep a distance from what follows.
    """
    # Not above: unfold.admin is still being imported when tag libraries are looked for.
    from labeling.admin.scoped import Role, project_ids
    from registry.rollout import alarms as found

    request = context["request"]
    unread = found.unread(project_ids(request, Role.MANAGER))[:_SHOWN]
    return {
        "alarms": [(one, found.what_happened(one), found.why(one)) for one in unread],
        "is_apart": is_apart,
        "csrf_token": context.get("csrf_token"),
    }
