"""The back office of progress: definitions, saves, and corrections by staff."""

from collections.abc import Callable
from typing import Any, ClassVar

from auditlog.models import LogEntry
from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import BigTableAdmin, GameContentAdmin, PlayerSearchMixin, RoleAdmin
from accounts.confirmation import CONFIRMATION_TEMPLATE
from accounts.models import Player
from accounts.roles import EVERYONE, HELPERS, may
from accounts.selectors import player_get
from config.api.problems import Problem
from progress.definition import reward_mistakes
from progress.models import Achievement, Save, SaveVersion, Stat
from progress.services import save_history, stats
from progress.services.save_rows import Writer


class ReasonForm(forms.Form):
    """Every correction of staff has a reason, which the audit log keeps."""

    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget)


class RestoreForm(ReasonForm):
    version = forms.TypedChoiceField(coerce=int, widget=UnfoldAdminSelectWidget)
    field_order = ("version", "reason")


class SetValueForm(ReasonForm):
    player = forms.UUIDField(widget=UnfoldAdminTextInputWidget, help_text="The player's id")
    value = forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget)
    field_order = ("player", "value", "reason")


def _staff_form(
    model_admin: RoleAdmin,
    request: HttpRequest,
    form: forms.Form,
    *,
    title: str,
    explanation: str,
    button: str,
    back_url: str,
    act: Callable[[dict[str, Any]], str],
) -> HttpResponse:
    """Show `form`; once it is valid, `act` on it and go back, with what it returns as message."""
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                message = act(form.cleaned_data)
        except Problem as problem:
            form.add_error(None, problem.detail)
        else:
            messages.success(request, message)
            return HttpResponseRedirect(back_url)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": title,
        "form": form,
        "question": {"title": title, "text": explanation, "button": button},
        "back": back_url,
        "media": model_admin.media + form.media,
    }
    return TemplateResponse(request, CONFIRMATION_TEMPLATE, context)


def _audit(instance: Any, **facts: object) -> None:
    """Note a correction in the audit log, under the member of staff who makes this request."""
    LogEntry.objects.log_create(
        instance,
        force_log=True,
        action=LogEntry.Action.UPDATE,
        changes={},
        additional_data={name: str(value) for name, value in facts.items()},
    )


@admin.register(Save)
class SaveAdmin(PlayerSearchMixin, BigTableAdmin):
    """Saves of players. Their bytes are not shown: they are the player's."""

    list_display = ("slot", "player", "game", "version", "access", "size", "device", "updated_at")
    list_filter = ("game", "access", ("deleted_at", admin.EmptyFieldListFilter))
    list_select_related = ("player", "game")
    fields = (
        "game",
        "player",
        "slot",
        "access",
        "version",
        "size",
        "digest",
        "content_type",
        "device",
        "created_at",
        "updated_at",
        "deleted_at",
        "kept_versions",
    )
    readonly_fields = fields
    actions_detail: ClassVar[list[str]] = ["restore"]
    roles: ClassVar[Any] = {"view": EVERYONE, "restore": HELPERS}

    @admin.display(description="SHA-256")
    def digest(self, save: Save) -> str:
        return bytes(save.sha256).hex()

    @admin.display(description="Kept versions")
    def kept_versions(self, save: Save) -> SafeString:
        return format_html(
            "<ul>{}</ul>",
            format_html_join(
                "",
                "<li>{}: {} bytes, {} UTC, {}{}</li>",
                (
                    (
                        row.version,
                        row.size,
                        f"{row.created_at:%Y-%m-%d %H:%M:%S}",
                        row.device or "–",
                        f", restored from {row.restored_from}" if row.restored_from else "",
                    )
                    for row in _versions(save)
                ),
            ),
        )

    def has_restore_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "restore", self.roles)

    @action(description="Restore a version", url_path="restore", permissions=["restore"])
    def restore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        save = get_object_or_404(Save, pk=object_id)
        form = RestoreForm(request.POST or None)
        field = form.fields["version"]
        if isinstance(field, forms.TypedChoiceField):
            field.choices = [
                (row.version, f"{row.version} ({row.created_at:%Y-%m-%d %H:%M} UTC, {row.size} B)")
                for row in _versions(save)
                if row.version != save.version or save.deleted_at
            ]

        def act(given: dict[str, Any]) -> str:
            state = save_history.restore(
                writer=Writer(game_id=save.game_id, player_id=save.player_id, trusted=True),
                slot=save.slot,
                version=given["version"],
            )
            _audit(save, restored_from=given["version"], reason=given["reason"])
            return f"Version {given['version']} was written again as version {state.version}."

        return _staff_form(
            self,
            request,
            form,
            title=f"Restore {save.slot}",
            explanation="The chosen version is written again as the newest one. A game that holds "
            "an older version is told so when it saves next. A deleted slot comes back.",
            button="Restore",
            back_url=reverse("admin:progress_save_change", args=[save.pk]),
            act=act,
        )


def _versions(save: Save) -> list[SaveVersion]:
    rows = SaveVersion.objects.filter(save_row=save).order_by("-version")
    return list(rows.defer("body", "sha256"))


class StatForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in its stubs
    """What `apply_game` refuses is refused here as well."""

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        low, high = given.get("minimum"), given.get("maximum")
        aggregation = given.get("aggregation") or self.instance.aggregation
        if low is not None and high is not None:
            if low > high:
                self.add_error("minimum", "The minimum is larger than the maximum.")
            elif aggregation == Stat.Aggregation.SUM and not low <= 0 <= high:
                self.add_error("minimum", "A sum begins at 0, so 0 has to be within the bounds.")
        if (given.get("rate_amount") is None) != (given.get("rate_seconds") is None):
            self.add_error("rate_amount", "A rate is an amount and seconds.")
        return given


class AchievementForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in its stubs
    """What `apply_game` refuses is refused here as well."""

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        game_id = self.instance.game_id or getattr(given.get("game"), "pk", None)
        stat = given.get("stat")
        if stat is not None and stat.game_id != game_id:
            self.add_error("stat", "This stat belongs to another game.")
        if stat is not None and given.get("reportable"):
            self.add_error("reportable", "An achievement follows a stat or takes reports.")
        if stat is None and (given.get("threshold") or 0) < 1:
            self.add_error("threshold", "Without a stat the threshold is at least 1.")
        if game_id is not None and given.get("reward"):
            for mistake in reward_mistakes(game_id, given["reward"]):
                self.add_error("reward", mistake)
        return given


@admin.register(Stat)
class StatAdmin(GameContentAdmin):
    form = StatForm
    list_display = ("key", "game", "aggregation", "minimum", "maximum", "writer", "is_active")
    search_fields = ("key", "name")
    actions_detail: ClassVar[list[str]] = ["set_value"]
    roles: ClassVar[Any] = {**GameContentAdmin.roles, "set_value": HELPERS}

    def get_readonly_fields(self, request: HttpRequest, obj: Stat | None = None) -> list[str]:
        """Players' values were made by the aggregation, so it stays."""
        fixed = [] if obj is None else ["aggregation"]
        return [*super().get_readonly_fields(request, obj), *fixed]

    def has_set_value_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "set_value", self.roles)

    @action(description="Set a player's value", url_path="set-value", permissions=["set_value"])
    def set_value(self, request: HttpRequest, object_id: str) -> HttpResponse:
        stat = get_object_or_404(Stat, pk=object_id)

        def act(given: dict[str, Any]) -> str:
            player: Player = player_get(game_id=stat.game_id, player_id=given["player"])
            done = stats.set_value(
                game_id=stat.game_id, player_id=player.pk, stat=stat.key, value=given["value"]
            )
            _audit(stat, player=player.pk, value=given["value"], reason=given["reason"])
            unlocked = ", ".join(rule.name for rule, _ in done.unlocked)
            more = f" This unlocked: {unlocked}." if unlocked else ""
            return f"{stat.key} of {player} is now {given['value']}.{more}"

        return _staff_form(
            self,
            request,
            SetValueForm(request.POST or None),
            title=f"Set {stat.key} of a player",
            explanation="Replaces the value, whatever the stat's aggregation; its bounds hold. "
            "Achievements that the value reaches are unlocked; none is taken back.",
            button="Set",
            back_url=reverse("admin:progress_stat_change", args=[stat.pk]),
            act=act,
        )


@admin.register(Achievement)
class AchievementAdmin(GameContentAdmin):
    form = AchievementForm
    list_display = (
        "key",
        "game",
        "name",
        "stat",
        "threshold",
        "hidden",
        "reportable",
        "position",
        "is_active",
    )
    list_select_related = ("game", "stat")
    search_fields = ("key", "name")
