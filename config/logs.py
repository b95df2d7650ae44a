"""Structured logs: one JSON object a line in production, readable lines in development.

Our own loggers write through structlog; the standard library's (Django, Celery, gunicorn) are
formatted the same way. Request, player and game ids stand on every line; names, addresses,
tokens and bodies on none: `drop_personal_data` removes them even if somebody logs them by mistake.
"""

import logging
import logging.config
from typing import Any

import structlog
from django.conf import settings
from structlog.typing import EventDict, Processor, WrappedLogger

PERSONAL = {
    "email",
    "ip",
    "password",
    "token",
    "access",
    "refresh",
    "secret",
    "device_secret",
    "authorization",
    "display_name",
    "body",
    "user_agent",
}


def drop_personal_data(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove members that must not be logged."""
    for name in PERSONAL & event.keys():
        event[name] = "[removed]"
    return event


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_personal_data,
    ]


def configure() -> None:
    """Set up structlog and logging from `LOG_LEVEL` and `LOG_FORMAT`."""
    json_lines = settings.LOG_FORMAT == "json"
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json_lines
        # Plain: the pretty tracebacks show local variables, passwords and tokens among them.
        else structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    tail: list[Processor] = [structlog.processors.format_exc_info] if json_lines else []
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": _shared(),
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *tail,
                        renderer,
                    ],
                }
            },
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["out"], "level": settings.LOG_LEVEL},
            "loggers": {
                # Our request lines say the same, with the ids.
                "django.request": {"level": "ERROR"},
                "django.server": {"level": "WARNING"},
                "django_structlog": {"level": "WARNING"},
            },
        }
    )
