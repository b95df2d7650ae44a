# syntax=docker/dockerfile:1
# One image for web, worker and scheduler; compose.yaml shows the command of each.
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS build
ENV UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/tools.txt requirements/production.txt ./
RUN --mount=type=cache,target=/root/.cache \
    python -m pip install --no-cache-dir --require-hashes --no-deps --only-binary=:all: --target /tools -r tools.txt
RUN --mount=type=cache,target=/root/.cache \
    /tools/bin/uv venv /venv \
    && /tools/bin/uv pip install --python /venv/bin/python --require-hashes -r production.txt
COPY . /app
WORKDIR /app
# `test` settings, because collecting files needs no secrets, no database and no Redis.
RUN DJANGO_ENV=test STATIC_ROOT=/static /venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
    && /venv/bin/python -m compileall -q /app

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    DJANGO_ENV=production \
    BIND=0.0.0.0:8000 \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics \
    STATIC_ROOT=/static
RUN groupadd --gid 10001 evenkeel \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin evenkeel
COPY --from=build /venv /venv
COPY --from=build /static /static
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "--config", "config/gunicorn.py", "config.wsgi:application"]
