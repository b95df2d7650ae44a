"""A urlconf with endpoints that only exercise the plumbing."""

from typing import Annotated, Any, ClassVar

import msgspec
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import path

from config import urls
from config.api.callers import ApiRequest
from config.api.pagination import PageQuery
from config.api.problems import NotFound
from config.api.views import ApiViewSet, answer, endpoint
from config.api.wire import Input, Output


class Thing(Input, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=20)] = "x"


class Answer(Output):
    said: str


class ProbeViewSet(ApiViewSet):
    error: ClassVar[Exception] = ValueError("secret detail of the database")

    @endpoint(callers=(), answers={200: Answer}, query=PageQuery)
    def read(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        return answer(Answer(said="y" * query.limit * 20))

    @endpoint(callers=(), answers={201: Answer}, body=Thing)
    def write(self, request: ApiRequest, body: Thing) -> HttpResponse:
        return answer(Answer(said=body.name), status=201)

    @endpoint(callers=(), answers={204: None})
    def nothing(self, request: ApiRequest) -> HttpResponse:
        return answer()

    @endpoint(callers=(), answers={200: Answer})
    def crash(self, request: ApiRequest) -> HttpResponse:
        raise self.error

    @endpoint(callers=(), answers={200: Answer})
    def lost(self, request: ApiRequest) -> HttpResponse:
        raise OperationalError("server closed the connection; password=hunter2")

    @endpoint(callers=(), answers={200: Answer})
    def missing(self, request: ApiRequest) -> HttpResponse:
        raise NotFound("There is no such thing")


def crash_outside(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret detail of a plain view")


urlpatterns: list[Any] = [
    path("v1/probe", ProbeViewSet.as_view({"get": "read", "post": "write", "delete": "nothing"})),
    path("v1/crash", ProbeViewSet.as_view({"get": "crash"})),
    path("v1/lost", ProbeViewSet.as_view({"get": "lost"})),
    path("v1/missing", ProbeViewSet.as_view({"get": "missing"})),
    path("crash", crash_outside),
    *urls.urlpatterns,
]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
