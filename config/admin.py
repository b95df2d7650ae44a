"""The back office's view of work that must happen: what is due, and what is dead."""

from typing import ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import action

from accounts.backoffice import BigTableAdmin, by_known
from accounts.roles import ADMINS
from config import hooks
from config.models import HookCall
from config.tasks import run_due_hooks


@admin.register(HookCall)
class HookCallAdmin(BigTableAdmin):
    roles: ClassVar = {"view": ADMINS}
    list_display = ("hook", "listener", "state", "attempts", "next_attempt_at", "created_at")
    list_filter = ("state", by_known("hook", hooks.POINTS))
    actions = ("try_again",)

    @action(description="Try again now", permissions=["view"])
    def try_again(self, request: HttpRequest, queryset: "QuerySet[HookCall]") -> None:
        """Make dead and waiting calls due; the sweeper calls them within half a minute."""
        count = queryset.exclude(state=HookCall.State.DONE).update(
            state=HookCall.State.DUE, attempts=0, next_attempt_at=timezone.now()
        )
        run_due_hooks.delay()
        messages.success(request, f"{count} calls are due again")
