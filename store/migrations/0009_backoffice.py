"""What staff decide about purchases, and files that they export."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

import config.db.ids


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("store", "0008_ledger_speed"),
    ]

    operations = [
        migrations.AddField(
            model_name="platformpurchase",
            name="decision",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "–"),
                    ("grant", "granted by staff"),
                    ("refuse", "refused by staff"),
                    ("refund", "taken back by staff"),
                ],
                db_default="",
                default="",
                max_length=6,
            ),
        ),
        migrations.CreateModel(
            name="Export",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=config.db.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("query", models.JSONField()),
                ("cursor", models.JSONField(blank=True, default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[("due", "Due"), ("done", "Done"), ("failed", "Failed")],
                        default="due",
                        max_length=6,
                    ),
                ),
                ("total", models.PositiveBigIntegerField(null=True)),
                ("written", models.PositiveBigIntegerField(default=0)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_error", models.CharField(blank=True, max_length=200)),
                (
                    "author",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(state__in=("due", "done", "failed")), name="store_export_state"
                    )
                ],
                "indexes": [
                    models.Index(
                        condition=Q(state="due"),
                        fields=["next_attempt_at"],
                        name="store_export_due",
                    ),
                    models.Index(fields=["expires_at"], name="store_export_expires"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExportPart",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "export",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="store.export",
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("body", models.BinaryField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("export", "number"), name="store_exportpart_once"
                    )
                ],
            },
        ),
    ]
