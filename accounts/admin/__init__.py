"""The back office of accounts: games and keys, players, staff."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin

from accounts.admin import friends, games, merges, players, staff

__all__ = ["friends", "games", "merges", "players", "staff"]

# Sign-in with the second factor, and with limits, is allauth's, which wraps the site's method.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # on purpose
