"""A page of the admin that asks before something is done, with a form where there is more to say.

Detail actions are links, and a link must not change anything: the change is made by the POST.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from config.api.problems import Problem

# The one page that asks staff something: `question` (title, text, button), `form`, `back`, `media`.
CONFIRMATION_TEMPLATE = "admin/accounts/confirmation.html"


class NoFields(forms.Form):
    """Nothing more to say."""


@dataclass(frozen=True)
class Confirmation:
    """What is asked, and what `act(form)` does once it is answered. Problems are shown. `done` is
    said afterwards, unless `act` returns another sentence."""

    title: str
    button: str
    act: Callable[[Any], object]
    done: str
    text: str = ""
    form: type[forms.Form] = NoFields
    is_dangerous: bool = False


def confirm(
    model_admin: Any, request: HttpRequest, obj: models.Model, question: Confirmation
) -> HttpResponse:
    """The page, or after the answer a redirect to the object's page."""
    opts = obj._meta
    back = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[obj.pk])
    form = question.form(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            said = question.act(form)
        except Problem as problem:
            form.add_error(None, problem.detail)
        else:
            messages.success(request, said if isinstance(said, str) else question.done)
            return HttpResponseRedirect(back)
    context = {
        **admin.site.each_context(request),
        "title": question.title,
        "question": question,
        "form": form,
        "back": back,
        "opts": opts,
        "object": obj,
        "media": model_admin.media + form.media,
    }
    return TemplateResponse(request, CONFIRMATION_TEMPLATE, context)
