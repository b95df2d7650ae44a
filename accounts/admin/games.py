"""Games and their API keys."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from accounts.backoffice import GameContentAdmin, RoleAdmin
from accounts.confirmation import Confirmation, confirm
from accounts.models import ApiKey, Game
from accounts.roles import ADMINS, EVERYONE, Roles
from accounts.services import keys


@admin.register(Game)
class GameAdmin(GameContentAdmin):
    """Content is edited in its own sections; a game itself has little."""

    roles: ClassVar[Roles] = {
        "view": EVERYONE,
        "add": ADMINS,
        "change": ADMINS,
        "delete": frozenset(),
    }
    list_display = ("name", "slug", "timezone", "is_active", "created_at")
    list_filter = ("is_active",)
    list_select_related = ()
    search_fields = ("slug", "name")
    fields = ("name", "slug", "timezone", "is_active", "id", "created_at")
    readonly_fields = ("id", "created_at")
    ordering = ("name",)

    def game_of(self, obj: Game) -> Any:
        return obj.pk

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, "slug"] if obj is not None else list(self.readonly_fields)


class NewKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in its stubs
    """A key that is about to be made."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {text}") for scope, text in keys.SCOPES.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        required=False,
        help_text="What a secret key may do. A publishable key has no scopes.",
    )

    class Meta:
        model = ApiKey
        fields = ("game", "kind", "name", "scopes", "expires_at")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind, game = cleaned.get("kind"), cleaned.get("game")
        if kind == ApiKey.Kind.SECRET and game is not None:
            if not cleaned.get("scopes"):
                self.add_error("scopes", "A secret key without a scope can do nothing.")
            if keys.active(game.pk, kind).count() >= keys.ACTIVE_SECRET_KEYS:
                self.add_error(None, "This game has two active secret keys. Revoke one first.")
        return cleaned


@admin.register(ApiKey)
class ApiKeyAdmin(RoleAdmin):
    """Keys are made and revoked, never changed."""

    roles: ClassVar[Roles] = {"view": ADMINS, "add": ADMINS, "change": frozenset()}
    list_display = ("shown", "game", "kind_label", "name", "state", "last_used_at", "expires_at")
    list_filter = ("game", "kind")
    list_select_related = ("game",)
    ordering = ("game", "-created_at")
    form = NewKeyForm
    fields = ("game", "kind", "name", "scopes", "expires_at")
    actions_detail = ("revoke",)

    @display(description="Kind", label={"secret": "warning", "publishable": "info"})
    def kind_label(self, key: ApiKey) -> str:
        return key.kind

    @display(description="State", label={"active": "success", "revoked": "danger"})
    def state(self, key: ApiKey) -> str:
        works = keys.active(key.game_id, key.kind).filter(pk=key.pk).exists()
        return "active" if works else "revoked" if key.revoked_at else "expired"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return list(self.fields)
        shown = ["shown", "game", "kind", "name", "scopes", "created_at", "expires_at"]
        return [*shown, "revoked_at", "last_used_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        made, text = keys.create(
            game_id=obj.game_id,
            kind=obj.kind,
            name=obj.name,
            scopes=form.cleaned_data["scopes"],
            expires_at=obj.expires_at,
        )
        for field in ApiKey._meta.concrete_fields:
            setattr(obj, field.attname, getattr(made, field.attname))
        obj._state.adding = False
        if obj.kind == ApiKey.Kind.SECRET:
            messages.warning(request, f"Copy the key now; it is not shown again: {text}")

    @action(description="Revoke", url_path="revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.object_or_404(request, object_id)
        return confirm(
            self,
            request,
            key,
            Confirmation(
                title=f"Revoke {key.shown}?",
                text="Requests with this key will fail from now on. This can't be undone.",
                button="Revoke",
                act=lambda form: keys.revoke(key=key),
                done="The key is revoked.",
                is_dangerous=True,
            ),
        )
