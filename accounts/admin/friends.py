"""What is between players. It is theirs: staff look, and change nothing."""

from typing import ClassVar

from django.contrib import admin

from accounts.backoffice import BigTableAdmin, PlayerSearchMixin
from accounts.models import Block, FriendRequest
from accounts.roles import HELPERS, Roles


@admin.register(FriendRequest)
class FriendRequestAdmin(PlayerSearchMixin, BigTableAdmin):
    """Found by who has asked, or by the id of who was asked."""

    roles: ClassVar[Roles] = {"view": HELPERS}
    player_field = "sender"
    also_search = ("recipient",)
    list_display = ("sender", "recipient", "created_at")
    list_select_related = ("sender", "recipient")
    fields = ("sender", "recipient", "created_at")


@admin.register(Block)
class BlockAdmin(PlayerSearchMixin, BigTableAdmin):
    """Found by who has blocked somebody."""

    roles: ClassVar[Roles] = {"view": HELPERS}
    list_display = ("player", "blocked", "created_at")
    list_select_related = ("player", "blocked")
    fields = ("player", "blocked", "created_at")
