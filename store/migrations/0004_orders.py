"""Receipts of the platforms' stores, from the inbox to the grant and its reversal."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import config.db.ids

# What was bought with real money is never forgotten: a purchase that is gone could be granted
# again. The log of its steps is only ever added to.
KEPT = """
CREATE TRIGGER store_platformpurchase_kept BEFORE DELETE ON store_platformpurchase
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
CREATE TRIGGER store_purchasestep_append_only BEFORE UPDATE OR DELETE ON store_purchasestep
    FOR EACH ROW EXECUTE FUNCTION store_refuse();
"""
# Only a database of tests may be emptied; its settings say so (config/settings/test.py).
TRUNCATE = """
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT
    WHEN (current_setting('evenkeel.ledger_may_be_emptied', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION store_refuse();
"""
TABLES = ("store_platformpurchase", "store_purchasestep")
UNDO = """
DROP TRIGGER store_platformpurchase_kept ON store_platformpurchase;
DROP TRIGGER store_purchasestep_append_only ON store_purchasestep;
""" + "".join(f"DROP TRIGGER {table}_no_truncate ON {table};" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [("store", "0003_purchases"), ("accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="AccountToken",
            fields=[
                (
                    "player",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.player",
                    ),
                ),
                ("token", models.UUIDField(unique=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Order",
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
                ("digest", models.BinaryField(max_length=32)),
                ("data", models.JSONField()),
                ("product", models.CharField(blank=True, max_length=200)),
                ("purchases", models.JSONField(default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "Received"),
                            ("verifying", "Verifying"),
                            ("retry", "Retry"),
                            ("accepted", "Accepted"),
                            ("rejected", "Rejected"),
                            ("dead", "Dead"),
                        ],
                        default="received",
                        max_length=9,
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=64)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("first_tried_at", models.DateTimeField(null=True)),
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
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PlatformApp",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("provider", models.CharField(max_length=20)),
                ("app_id", models.CharField(max_length=255)),
                ("options", models.JSONField(blank=True, default=dict)),
                ("key_name", models.CharField(blank=True, max_length=40)),
                (
                    "sandbox",
                    models.CharField(
                        choices=[
                            ("off", "nobody's"),
                            ("testers", "testers'"),
                            ("all", "everybody's"),
                        ],
                        default="off",
                        max_length=7,
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                (
                    "created_at",
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
            ],
            options={
                "verbose_name": "platform app",
            },
        ),
        migrations.CreateModel(
            name="PlatformNotice",
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
                ("notice_id", models.CharField(max_length=255)),
                ("kind", models.CharField(max_length=100)),
                ("app_id", models.CharField(max_length=255)),
                ("data", models.JSONField()),
                ("signed_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "Received"),
                            ("done", "Done"),
                            ("ignored", "Ignored"),
                            ("dead", "Dead"),
                        ],
                        default="received",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("first_tried_at", models.DateTimeField(null=True)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
            options={
                "verbose_name": "platform notification",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "received")),
                        fields=["next_attempt_at"],
                        name="store_notice_due",
                    ),
                    models.Index(
                        condition=models.Q(("state", "dead")),
                        fields=["id"],
                        name="store_notice_dead",
                    ),
                    models.Index(fields=["provider", "-created_at"], name="store_notice_latest"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("provider", "notice_id"), name="store_notice_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ("received", "done", "ignored", "dead"))),
                        name="store_notice_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlatformPurchase",
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
                ("transaction_id", models.CharField(max_length=512)),
                ("line", models.CharField(blank=True, max_length=200)),
                ("original_id", models.CharField(blank=True, max_length=512)),
                ("is_unbound", models.BooleanField(default=False)),
                ("product", models.CharField(max_length=200)),
                ("kind", models.CharField(max_length=12)),
                ("quantity", models.PositiveIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("verified", "Verified"),
                            ("granted", "Granted"),
                            ("quarantined", "Quarantined"),
                            ("partially_revoked", "Partially Revoked"),
                            ("revoked", "Revoked"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="pending",
                        max_length=17,
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=64)),
                ("granted", models.JSONField(blank=True, default=dict)),
                ("taken", models.JSONField(blank=True, default=dict)),
                ("revoked", models.PositiveIntegerField(default=0)),
                ("reversals", models.PositiveIntegerField(default=0)),
                (
                    "told",
                    models.CharField(
                        choices=[
                            ("none", "None"),
                            ("due", "Due"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                        ],
                        default="none",
                        max_length=6,
                    ),
                ),
                ("token", models.TextField(blank=True)),
                ("account", models.UUIDField(blank=True, null=True)),
                ("price_minor_units", models.BigIntegerField(blank=True, null=True)),
                ("price_currency", models.CharField(blank=True, max_length=3)),
                ("country", models.CharField(blank=True, max_length=3)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                ("signed_at", models.DateTimeField()),
                ("purchased_at", models.DateTimeField(blank=True, null=True)),
                ("granted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
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
                    "offer",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.offer",
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.order",
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
            ],
            options={
                "verbose_name": "platform purchase",
            },
        ),
        migrations.CreateModel(
            name="OwnerConflict",
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
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("kept", "kept with its owner"),
                            ("moved", "moved to the claimant"),
                        ],
                        default="open",
                        max_length=5,
                    ),
                ),
                ("decided_by", models.CharField(blank=True, max_length=150)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "claimant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.order",
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
        ),
        migrations.CreateModel(
            name="PurchaseStep",
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
                ("at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("before", models.CharField(blank=True, max_length=17)),
                ("after", models.CharField(max_length=17)),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("order", "Order"),
                            ("notice", "Notice"),
                            ("reconciliation", "Reconciliation"),
                            ("staff", "Staff"),
                            ("sweeper", "Sweeper"),
                        ],
                        max_length=14,
                    ),
                ),
                ("reference", models.CharField(blank=True, max_length=255)),
                ("detail", models.JSONField(default=dict)),
                (
                    "order",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.order",
                    ),
                ),
                (
                    "purchase",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.platformpurchase",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Watermark",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("recent", "the last day, hourly"),
                            ("long", "as far back as it pays, daily"),
                        ],
                        max_length=6,
                    ),
                ),
                ("until", models.DateTimeField()),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                (
                    "app",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="store.platformapp",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("state__in", ("received", "verifying", "retry"))),
                fields=["next_attempt_at"],
                name="store_order_due",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["player", "-id"], name="store_order_player"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("state", "dead")), fields=["id"], name="store_order_dead"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(
                fields=("player", "provider", "digest"), name="store_order_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ("received", "verifying", "retry", "accepted", "rejected", "dead"),
                    )
                ),
                name="store_order_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformapp",
            constraint=models.UniqueConstraint(
                fields=("game", "provider"), name="store_platformapp_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="platformapp",
            constraint=models.UniqueConstraint(
                fields=("provider", "app_id"), name="store_platformapp_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="platformapp",
            constraint=models.CheckConstraint(
                condition=models.Q(("sandbox__in", ("off", "testers", "all"))),
                name="store_platformapp_sandbox",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformapp",
            constraint=models.CheckConstraint(
                condition=models.Q(("key_name__regex", "^([a-z][a-z0-9_]*)?$")),
                name="store_platformapp_key",
            ),
        ),
        migrations.AddIndex(
            model_name="platformpurchase",
            index=models.Index(fields=["player", "-id"], name="store_platformpurchase_player"),
        ),
        migrations.AddIndex(
            model_name="platformpurchase",
            index=models.Index(
                fields=["provider", "app_id", "original_id"], name="store_platformpurchase_series"
            ),
        ),
        migrations.AddIndex(
            model_name="platformpurchase",
            index=models.Index(
                condition=models.Q(("told", "due")),
                fields=["next_attempt_at"],
                name="store_platformpurchase_tell",
            ),
        ),
        migrations.AddIndex(
            model_name="platformpurchase",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["next_attempt_at"],
                name="store_platformpurchase_wait",
            ),
        ),
        migrations.AddIndex(
            model_name="platformpurchase",
            index=models.Index(
                condition=models.Q(("revoked__gt", 0)),
                fields=["player"],
                name="store_platformpurchase_refund",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformpurchase",
            constraint=models.UniqueConstraint(
                fields=("provider", "environment", "app_id", "transaction_id", "line"),
                name="store_platformpurchase_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformpurchase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        (
                            "pending",
                            "verified",
                            "granted",
                            "quarantined",
                            "partially_revoked",
                            "revoked",
                            "cancelled",
                        ),
                    )
                ),
                name="store_platformpurchase_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformpurchase",
            constraint=models.CheckConstraint(
                condition=models.Q(("told__in", ("none", "due", "done", "failed"))),
                name="store_platformpurchase_told",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformpurchase",
            constraint=models.CheckConstraint(
                condition=models.Q(("environment__in", ("production", "sandbox"))),
                name="store_platformpurchase_environment",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformpurchase",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 1), ("revoked__lte", 100000)),
                name="store_platformpurchase_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="platformpurchase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ("granted", "partially_revoked")), _negated=True),
                    models.Q(
                        ("granted_at__isnull", False),
                        ("offer__isnull", False),
                        ("player__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="store_platformpurchase_granted",
            ),
        ),
        migrations.AddConstraint(
            model_name="ownerconflict",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")),
                fields=("purchase", "claimant"),
                name="store_ownerconflict_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="ownerconflict",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ("open", "kept", "moved"))),
                name="store_ownerconflict_state",
            ),
        ),
        migrations.AddIndex(
            model_name="purchasestep",
            index=models.Index(fields=["purchase", "id"], name="store_purchasestep_purchase"),
        ),
        migrations.AddIndex(
            model_name="purchasestep",
            index=models.Index(fields=["order", "id"], name="store_purchasestep_order"),
        ),
        migrations.AddConstraint(
            model_name="purchasestep",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("purchase__isnull", False), ("order__isnull", False), _connector="OR"
                ),
                name="store_purchasestep_subject",
            ),
        ),
        migrations.AddConstraint(
            model_name="watermark",
            constraint=models.UniqueConstraint(fields=("app", "kind"), name="store_watermark_once"),
        ),
        migrations.AddConstraint(
            model_name="watermark",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ("recent", "long"))), name="store_watermark_kind"
            ),
        ),
        migrations.RunSQL(KEPT + "".join(TRUNCATE.format(table=table) for table in TABLES), UNDO),
    ]
