"""Wire formats of merging two players."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from accounts.models import Merge
from accounts.selectors import PlayerProfile, PublicPlayer
from config.api.wire import Input, Output, utc

MAX_CHOICES = 100
Side = Literal["this", "other"]


class MergeRequest(Input, frozen=True, kw_only=True):
    """`merge_token` is of the `identity_taken` that says so. What both players have can't both go
    on, so the calling player chooses: whose name and avatar, and for save slots whose content."""

    merge_token: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    preview: bool = False
    profile: Side = "this"
    saves: Annotated[dict[str, Side], msgspec.Meta(max_length=MAX_CHOICES)] = msgspec.field(
        default_factory=dict
    )


class MergeSide(Output, kw_only=True):
    """One of the two players, and what it holds: `accounts`, `store`, `progress`, …"""

    player: PublicPlayer
    holds: dict[str, Any]


class MergePreview(Output, kw_only=True):
    """What each side holds, and what merging would do. Nothing has happened."""

    preview: Literal[True] = True
    this: MergeSide
    other: MergeSide
    outcome: dict[str, Any]


class MergeOut(Output, kw_only=True):
    """A merge that was made. `outcome` says what came over, and what stays with the other."""

    preview: Literal[False] = False
    id: UUID
    player: PlayerProfile
    absorbed: UUID
    outcome: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, merge: Merge) -> "MergeOut":
        return cls(
            id=merge.pk,
            player=PlayerProfile.of_player(merge.survivor),
            absorbed=merge.absorbed_id,
            outcome=merge.outcome["merged"],
            created_at=utc(merge.created_at),
        )
