"""Settings of gunicorn: `gunicorn -c config/gunicorn.py config.wsgi:application`."""

import os
import shutil
from pathlib import Path
from typing import Any

bind = os.environ.get("BIND", f"127.0.0.1:{os.environ.get('PORT', '8000')}")
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
worker_class = "gthread"
wsgi_app = "config.wsgi:application"
preload_app = False
timeout = 60
graceful_timeout = 30
keepalive = 30
max_requests = 0
limit_request_line = 8190
limit_request_fields = 64
# As a user other than root its control socket only logs errors, and nothing here uses it.
control_socket_disable = True
errorlog = "-"
accesslog = None

_metrics = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if _metrics:
    # Counters of processes that are gone would be added to the new ones' for ever.
    shutil.rmtree(_metrics, ignore_errors=True)
    Path(_metrics).mkdir(parents=True, exist_ok=True)


def child_exit(server: Any, worker: Any) -> None:
    if _metrics:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # half typed
