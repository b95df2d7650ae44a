"""Staff accounts."""

import secrets

from django.db import transaction

from accounts.models import StaffUser


def create_or_update(
    *, username: str, email: str, role: str, password: str | None = None
) -> tuple[StaffUser, str | None, bool]:
    """A member of staff with this role and address: (user, generated password, is new).

    One that exists keeps the password unless one is given. A new one without a given password
    gets a generated one. Raises `ValueError` for an unknown role.
    """
    if role not in StaffUser.Role.values:
        raise ValueError(f"There is no role {role}")
    generated = None
    with transaction.atomic():
        user, is_new = StaffUser.objects.get_or_create(username=username)
        user.email, user.role = email, role
        user.is_staff = user.is_active = True
        if is_new and password is None:
            password = generated = secrets.token_urlsafe(15)
        if password is not None and not user.check_password(password):
            user.set_password(password)
        user.save()
    return user, generated, is_new
