"""Subscriptions, and restoring what was bought."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import config.db.ids


class Migration(migrations.Migration):
    dependencies = [("store", "0006_codes")]

    operations = [
        migrations.AddField(
            model_name="offer",
            name="entitlement",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.CreateModel(
            name="Subscription",
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
                ("provider", models.CharField(max_length=20)),
                ("environment", models.CharField(max_length=10)),
                ("app_id", models.CharField(max_length=255)),
                ("original_id", models.CharField(max_length=512)),
                ("line", models.CharField(blank=True, max_length=200)),
                ("account", models.UUIDField(blank=True, null=True)),
                (
                    "phase",
                    models.CharField(
                        choices=[
                            ("active", "Active"),
                            ("trial", "free trial"),
                            ("grace", "grace period"),
                            ("cancelled", "cancelled, until its end"),
                            ("hold", "on hold"),
                            ("paused", "Paused"),
                            ("pending", "Pending"),
                            ("expired", "Expired"),
                            ("revoked", "Revoked"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("entitled_until", models.DateTimeField(blank=True, null=True)),
                ("grace_until", models.DateTimeField(blank=True, null=True)),
                ("renews", models.BooleanField(default=False)),
                ("renewal_product", models.CharField(blank=True, max_length=200)),
                ("replaces", models.CharField(blank=True, max_length=512)),
                ("period_since", models.DateTimeField(blank=True, null=True)),
                ("signed_at", models.DateTimeField()),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "game",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
                (
                    "player",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "purchase",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.platformpurchase",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["player", "-id"], name="store_subscription_player"),
                    models.Index(
                        condition=models.Q(("replaces", ""), _negated=True),
                        fields=["provider", "app_id", "replaces"],
                        name="store_subscription_replaces",
                    ),
                    models.Index(
                        condition=models.Q(
                            (
                                "phase__in",
                                (
                                    "active",
                                    "trial",
                                    "grace",
                                    "cancelled",
                                    "hold",
                                    "paused",
                                    "pending",
                                ),
                            )
                        ),
                        fields=["next_attempt_at"],
                        name="store_subscription_due",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "environment", "app_id", "original_id", "line"),
                        name="store_subscription_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "phase__in",
                                (
                                    "active",
                                    "trial",
                                    "grace",
                                    "cancelled",
                                    "hold",
                                    "paused",
                                    "pending",
                                    "expired",
                                    "revoked",
                                ),
                            )
                        ),
                        name="store_subscription_phase",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("environment__in", ("production", "sandbox"))),
                        name="store_subscription_environment",
                    ),
                ],
            },
        ),
    ]
