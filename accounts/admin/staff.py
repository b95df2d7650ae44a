"""Staff and the audit log."""

from typing import Any, ClassVar

import allauth.account.admin
import allauth.mfa.admin
import auditlog.admin
import django.contrib.auth.admin
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from auditlog.mixins import LogEntryAdminMixin
from auditlog.models import LogEntry
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.backoffice import BigTableAdmin, RoleAdmin, audit
from accounts.confirmation import Confirmation, confirm
from accounts.models import StaffUser
from accounts.roles import ADMINS, Roles

# Their admins were registered by these imports; here is what replaces them.
for module, model in (
    (django.contrib.auth.admin, Group),
    (allauth.account.admin, EmailAddress),
    (allauth.mfa.admin, Authenticator),
    (auditlog.admin, LogEntry),
):
    if module and admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(StaffUser)
class StaffUserAdmin(RoleAdmin, UserAdmin):  # type: ignore[type-arg]  # generic only in its stubs
    """Who works here, and as what. Admins only; people who leave are set inactive."""

    roles: ClassVar[Roles] = {
        "view": ADMINS,
        "add": ADMINS,
        "change": ADMINS,
        "delete": frozenset(),
    }
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "role_label", "second_factor", "is_active", "last_login")
    list_filter = ("role", "is_active")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("role", "is_active", "last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("username", "email", "role", "password1", "password2"),
            },
        ),
    )
    readonly_fields = ("last_login", "date_joined")
    actions_detail = ("reset_second_factor",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("authenticator_set")

    @display(description="Role", label={"admin": "danger", "support": "info"})
    def role_label(self, user: StaffUser) -> str:
        return user.role

    @display(description="Second factor", boolean=True)
    def second_factor(self, user: Any) -> bool:
        return any(
            authenticator.type == Authenticator.Type.TOTP
            for authenticator in user.authenticator_set.all()
        )

    def save_model(self, request: HttpRequest, obj: StaffUser, form: Any, change: bool) -> None:
        obj.is_staff = True
        super().save_model(request, obj, form, change)

    def has_reset_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request)

    @action(description="Reset second factor", url_path="reset-2fa", permissions=["reset"])
    def reset_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> None:
            Authenticator.objects.filter(user=user).delete()
            audit(user, second_factor=("set", "reset"))

        question = Confirmation(
            title=f"Reset the second factor of {user}?",
            text="For a lost phone, once you know who is asking. They enrol again at sign-in.",
            button="Reset",
            act=act,
            done="The second factor is reset.",
            is_dangerous=True,
        )
        return confirm(self, request, user, question)


@admin.register(LogEntry)
class AuditAdmin(BigTableAdmin, LogEntryAdminMixin):
    """Every change that staff made."""

    roles: ClassVar[Roles] = {"view": ADMINS}
    list_display = ("created", "resource_url", "action", "msg_short", "user_url")
    list_filter = ("action",)
    list_select_related = ("content_type", "actor")
    search_fields = ("object_repr", "actor__username")
    readonly_fields = ("created", "resource_url", "action", "user_url", "msg")
    fieldsets = (
        (None, {"fields": ("created", "user_url", "resource_url")}),
        ("Changes", {"fields": ("action", "msg")}),
    )
