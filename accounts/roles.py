"""What each role of staff may do. Admin classes name the roles of each action in `roles`."""

from collections.abc import Mapping
from typing import Any

from accounts.models import StaffUser

SUPPORT, DESIGNER, ANALYST, ADMIN = (
    StaffUser.Role.SUPPORT.value,
    StaffUser.Role.DESIGNER.value,
    StaffUser.Role.ANALYST.value,
    StaffUser.Role.ADMIN.value,
)
EVERYONE = frozenset({SUPPORT, DESIGNER, ANALYST, ADMIN})
ADMINS = frozenset({ADMIN})
# Who helps players, and who makes the game's content.
HELPERS = frozenset({SUPPORT, ADMIN})
MAKERS = frozenset({DESIGNER, ADMIN})
# Who counts the money.
FINANCE = frozenset({ANALYST, ADMIN})

Roles = Mapping[str, frozenset[str]]


def may(user: Any, action: str, roles: Roles) -> bool:
    """Whether a member of staff may `action` ("view", "add", "change", "delete", …).

    Whoever may change may also view. Actions that `roles` does not name are for admins.
    """
    if not (getattr(user, "is_active", False) and getattr(user, "is_staff", False)):
        return False
    role = getattr(user, "role", "")
    if role in roles.get(action, ADMINS):
        return True
    return action == "view" and role in roles.get("change", frozenset())
