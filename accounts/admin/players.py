"""Players, and what belongs to them."""

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.timezone import now
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import (
    BigTableAdmin,
    PanelsMixin,
    PlayerSearchMixin,
    audit,
    drawn_panels,
)
from accounts.confirmation import Confirmation, confirm
from accounts.models import Identity, Player, Sanction, Session
from accounts.roles import EVERYONE, HELPERS, Roles, may
from accounts.services import players, sanctions, sessions
from config.api.preconditions import Precondition


class SanctionForm(forms.Form):
    """A new sanction."""

    kind = forms.ChoiceField(
        choices=Sanction.Kind.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="A suspension has an end; a ban may have one; a warning has none.",
    )
    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="The player reads this when signing in.",
    )
    ends_at = forms.SplitDateTimeField(
        label="Ends at (UTC)", required=False, widget=UnfoldAdminSplitDateTimeWidget
    )


class NameForm(forms.Form):
    """Another display name."""

    display_name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)


@admin.register(Player)
class PlayerAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """One page for everything on a player. Changes are actions, through services."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "help": HELPERS}
    player_field = "pk"
    list_display = ("name", "game", "standing", "is_guest", "country", "last_seen_at", "created_at")
    list_filter = ("game", "is_tester")
    list_select_related = ("game",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "standing"),
                    ("id", "game"),
                    ("created_at", "last_seen_at"),
                    ("is_guest", "is_tester"),
                    ("locale", "country", "timezone"),
                    ("avatar", "marketing_consent", "analytics_consent"),
                )
            },
        ),
    )
    readonly_fields = ("name", "standing")
    change_form_outer_after_template = "admin/accounts/player/panels.html"
    actions_detail = ("sanction", "lift", "sign_out", "tester", "rename")

    @display(description="Name")
    def name(self, player: Player) -> str:
        return str(player)

    @display(
        description="Standing",
        label={"fine": "success", "blocked": "danger", "tester": "info", "merged": "warning"},
    )
    def standing(self, player: Player) -> str:
        if player.merged_into_id is not None:
            return "merged"
        if player.blocked_until is not None and player.blocked_until > now():
            return "blocked"
        return "tester" if player.is_tester else "fine"

    def has_help_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "help", self.roles)

    def drawings(self, obj: Player) -> list[dict[str, Any]]:
        return drawn_panels(obj)

    @action(description="Sanction", url_path="sanction", permissions=["help"])
    def sanction(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Player = self.object_or_404(request, object_id)

        def act(form: SanctionForm) -> None:
            sanctions.impose(
                game_id=player.game_id,
                player_id=player.pk,
                author=request.user.get_username(),
                **form.cleaned_data,
            )

        question = Confirmation(
            title=f"Sanction {player}",
            text="A suspension or ban ends every session at once.",
            button="Sanction",
            form=SanctionForm,
            act=act,
            done=f"{player} is sanctioned.",
            is_dangerous=True,
        )
        return confirm(self, request, player, question)

    @action(description="Lift sanctions", url_path="lift", permissions=["help"])
    def lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Player = self.object_or_404(request, object_id)
        question = Confirmation(
            title=f"Lift all sanctions of {player}?",
            text="The player may sign in again. The sanctions stay on record.",
            button="Lift",
            act=lambda form: sanctions.lift_all(game_id=player.game_id, player_id=player.pk),
            done="All sanctions are lifted.",
        )
        return confirm(self, request, player, question)

    @action(description="Sign out everywhere", url_path="sign-out", permissions=["help"])
    def sign_out(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Player = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> None:
            ended = sessions.revoke_all(player_id=player.pk, reason="staff")
            audit(player, sessions=(f"{ended} live", "none"))

        question = Confirmation(
            title=f"Sign {player} out everywhere?",
            text="Every session ends at once; the player has to sign in again.",
            button="Sign out",
            act=act,
            done=f"{player} is signed out everywhere.",
        )
        return confirm(self, request, player, question)

    @action(description="Tester on or off", url_path="tester", permissions=["help"])
    def tester(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Player = self.object_or_404(request, object_id)
        wanted = not player.is_tester

        def act(form: forms.Form) -> None:
            players.set_tester(game_id=player.game_id, player_id=player.pk, is_tester=wanted)
            audit(player, is_tester=(not wanted, wanted))

        question = Confirmation(
            title=f"Make {player} {'a tester' if wanted else 'an ordinary player'}?",
            text="Testers are never on leaderboards or in charts. "
            "It is in force everywhere after the next refresh, or at once after a sign-out.",
            button="Change",
            act=act,
            done="Changed.",
        )
        return confirm(self, request, player, question)

    @action(description="Rename", url_path="rename", permissions=["help"])
    def rename(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Player = self.object_or_404(request, object_id)

        def act(form: NameForm) -> None:
            renamed = players.update_profile(
                game_id=player.game_id,
                player_id=player.pk,
                changes=form.cleaned_data,
                expected=Precondition(any_version=True),
            )
            audit(player, display_name=(str(player), str(renamed)))

        question = Confirmation(
            title=f"Rename {player}",
            button="Rename",
            form=NameForm,
            act=act,
            done="Renamed.",
        )
        return confirm(self, request, player, question)


@admin.register(Identity)
class IdentityAdmin(PlayerSearchMixin, BigTableAdmin):
    """Addresses are personal data: support sees them, others don't."""

    roles: ClassVar[Roles] = {"view": HELPERS}
    list_display = ("subject", "method", "player", "created_at")
    list_filter = ("method",)
    list_select_related = ("player",)
    fields = ("player", "game", "method", "subject", "verified_at", "created_at")


@admin.register(Session)
class SessionAdmin(PlayerSearchMixin, BigTableAdmin):
    roles: ClassVar[Roles] = {"view": HELPERS}
    also_search = ("id",)
    list_display = ("id", "player", "device", "platform", "last_used_at", "state")
    list_filter = ("method",)
    list_select_related = ("player",)

    @display(
        description="State", label={"live": "success", "revoked": "danger", "expired": "warning"}
    )
    def state(self, session: Session) -> str:
        if session.revoked_at is not None:
            return "revoked"
        return "live" if session.expires_at > now() else "expired"


@admin.register(Sanction)
class SanctionAdmin(PlayerSearchMixin, BigTableAdmin):
    """Imposed on the player's page; lifted one by one here."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "help": HELPERS}
    list_display = (
        "player",
        "kind_label",
        "reason",
        "author",
        "created_at",
        "ends_at",
        "lifted_at",
    )
    list_filter = ("kind", "game")
    list_select_related = ("player",)
    actions_detail = ("lift",)

    @display(
        description="Kind",
        label={
            "warning": "warning",
            "suspension": "danger",
            "ban": "danger",
            "shadow_ban": "info",
        },
    )
    def kind_label(self, sanction: Sanction) -> str:
        return sanction.kind

    def has_help_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "help", self.roles)

    @action(description="Lift", url_path="lift", permissions=["help"])
    def lift(self, request: HttpRequest, object_id: str) -> HttpResponse:
        sanction: Sanction = self.object_or_404(request, object_id)
        question = Confirmation(
            title="Lift this sanction?",
            button="Lift",
            act=lambda form: sanctions.lift(
                game_id=sanction.game_id,
                player_id=sanction.player_id,
                sanction_id=UUID(str(sanction.pk)),
            ),
            done="The sanction is lifted.",
        )
        return confirm(self, request, sanction, question)
