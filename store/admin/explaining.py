"""The page that explains one balance of a player, posting by posting."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.generic import TemplateView
from unfold.views import UnfoldModelAdminViewMixin

from accounts.backoffice import shown
from config.api.problems import InvalidCursor
from store import balance_history, panels
from store.balance_history import Check, Posting
from store.models import Currency, Wallet


class ExplainView(UnfoldModelAdminViewMixin, TemplateView):
    """`?before=` is the cursor of an older page."""

    title = "Explain this balance"
    permission_required = ()
    template_name = "admin/store/explain.html"

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        player = Wallet.objects.filter(pk=kwargs["player_id"]).first()
        if player is None:
            raise Http404("There is no such player")
        found = Currency.objects.filter(game_id=player.game_id, key=kwargs["currency"])
        currency = found.first()
        if currency is None:
            raise Http404("The game has no such currency")
        before = request.GET.get("before", "")
        try:
            rows, older = balance_history.page(player, currency, before)
        except InvalidCursor:
            messages.error(request, "This page does not exist; here is the first.")
            return redirect(request.path)
        check = balance_history.check(player, currency)
        context = self.get_context_data(
            player=panels.link("store_wallet", player.pk, text=str(player)),
            currency=currency.key,
            verdict=verdict(check, rows),
            older="?" + urlencode({"before": older}) if older else "",
            newest=request.path if before else "",
            facts=[
                ("Balance", f"{check.paid + check.earned:,}"),
                ("Paid", f"{check.paid:,}"),
                ("Earned", f"{check.earned:,}"),
                ("Postings", "many" if check.postings is None else f"{check.postings:,}"),
            ],
        )
        context["table"] = {
            "headers": [
                "When (UTC)",
                "Amount",
                "Balance after",
                "Paid",
                "Earned",
                "Cause",
                "By",
                "Transaction",
            ],
            "rows": [_cells(row) for row in rows],
        }
        return self.render_to_response(context)


def verdict(check: Check, rows: list[Posting]) -> dict[str, str]:
    """Whether the books are right about this balance, as the templates show it."""
    if any(row.follows is False for row in rows):
        return {
            "level": "danger",
            "text": "A posting does not follow from the one before it.",
            "advice": "It is marked below. Tell an operator: see docs/ledger.md.",
        }
    if check.postings is None:
        return {
            "level": "info",
            "text": "There are too many postings to add them up here.",
            "advice": "The daily check of the books does; those below follow from one another.",
        }
    if not check.is_right:
        return {
            "level": "danger",
            "text": f"The postings add up to {check.paid_sum + check.earned_sum:,}, which is not "
            "the balance.",
            "advice": "Tell an operator: see docs/ledger.md.",
        }
    return {"level": "success", "text": "The balance equals the sum of its postings.", "advice": ""}


def _cells(row: Posting) -> list[object]:
    cause: object = panels.cause(row.kind, row.reason, row.reference)
    if row.purchase_id is not None:
        cause = panels.link("store_platformpurchase", row.purchase_id, text=str(cause))
    after = f"{row.after:,}" + (" DOES NOT FOLLOW" if row.follows is False else "")
    return [
        shown(row.at),
        f"{row.amount:+,}",
        after,
        f"{row.paid:+,}",
        f"{row.earned:+,}",
        cause,
        row.actor or "–",
        panels.link("store_transaction", row.transaction_id, short=True),
    ]
