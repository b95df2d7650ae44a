"""The panels of accounts on a player's page; other apps bring theirs."""

from django.urls import reverse
from django.utils.html import format_html

from accounts import friend_selectors
from accounts.backoffice import Panel, register_player_panel
from accounts.models import Player
from accounts.selectors import identities_of, live_sessions, merges_of, sanctions_of

SHOWN = 10


def register() -> None:
    register_player_panel("Sanctions", sanctions, order=10)
    register_player_panel("Friends", friends, order=70)
    register_player_panel("Merges", merges, order=15)
    register_player_panel("Sign-in methods", identities, order=80)
    register_player_panel("Sessions", sessions, order=90)


def more(model: str, player: Player) -> str:
    """The list of `app_model`, of this player only."""
    return f"{reverse(f'admin:{model}_changelist')}?q={player.pk}"


def player_link(player: Player) -> str:
    """A link to a player's page."""
    address = reverse("admin:accounts_player_change", args=[player.pk])
    style = "text-primary-600 dark:text-primary-500"
    return format_html('<a class="{}" href="{}">{}</a>', style, address, player)


def sanctions(player: Player) -> Panel:
    rows = [
        (
            sanction.get_kind_display(),
            sanction.reason,
            sanction.author,
            sanction.created_at,
            sanction.ends_at or "no end",
            sanction.lifted_at or "",
        )
        for sanction in sanctions_of(player.pk, limit=SHOWN)
    ]
    return Panel(
        ("Kind", "Reason", "Author", "Since", "Until", "Lifted"),
        rows,
        more_url=more("accounts_sanction", player),
    )


def friends(player: Player) -> Panel:
    """The newest of each kind, and how many there are of all (they have bounds)."""
    kinds = (
        ("friend", "friends", friend_selectors.friendships_of(player.pk), "friend"),
        ("has asked", "requests received", friend_selectors.requests_received(player.pk), "sender"),
        ("was asked", "requests sent", friend_selectors.requests_sent(player.pk), "recipient"),
        ("blocked", "blocked", friend_selectors.blocks_of(player.pk), "blocked"),
    )
    rows = [
        (_page_of(getattr(row, other)), what, row.created_at)
        for what, _, found, other in kinds
        for row in found.order_by("-created_at")[:SHOWN]
    ]
    counts = ", ".join(f"{found.count()} {many}" for _, many, found, _ in kinds)
    return Panel(("Player", "Is", "Since"), rows, note=f"{counts}.")


def merges(player: Player) -> Panel:
    """Whom the player has absorbed, or who has absorbed the player."""
    rows = [
        (
            row.created_at,
            "into" if row.absorbed_id == player.pk else "of",
            player_link(row.survivor if row.absorbed_id == player.pk else row.absorbed),
            row.state,
        )
        for row in merges_of(player.pk, limit=SHOWN)
    ]
    return Panel(
        ("When", "Merged", "Player", "State"), rows, more_url=more("accounts_merge", player)
    )


def _page_of(player: Player) -> str:
    """A player's name, which leads to their page."""
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>',
        reverse("admin:accounts_player_change", args=[player.pk]),
        player,
    )


def identities(player: Player) -> Panel:
    rows = [
        (identity.get_method_display(), identity.subject, identity.created_at)
        for identity in identities_of(player.pk)
    ]
    return Panel(("Method", "Subject", "Linked"), rows, more_url=more("accounts_identity", player))


def sessions(player: Player) -> Panel:
    rows = [
        (
            session.device or session.platform or session.get_method_display(),
            session.place,
            session.app_version,
            session.created_at,
            session.last_used_at,
        )
        for session in live_sessions(player.pk).order_by("-id")[:SHOWN]
    ]
    return Panel(
        ("Device", "Network", "Version", "Signed in", "Last used"),
        rows,
        more_url=more("accounts_session", player),
    )
