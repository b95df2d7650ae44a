"""Evenkeel's plumbing: settings, the API's shared parts, the database's shared parts."""

from config.celery import app as celery_app

__all__ = ("celery_app",)
