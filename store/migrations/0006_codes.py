"""Promotion codes, and grants that a second person approves."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

import config.db.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("store", "0005_catalogue"),
    ]

    operations = [
        migrations.CreateModel(
            name="Campaign",
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
                ("key", models.CharField(max_length=64)),
                ("title", models.CharField(max_length=100)),
                ("contents", models.JSONField(default=dict)),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                ("max_redemptions", models.PositiveIntegerField(blank=True, null=True)),
                ("limit_per_player", models.PositiveIntegerField(default=1)),
                (
                    "countries",
                    ArrayField(
                        base_field=models.CharField(max_length=2),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("new_player_days", models.PositiveIntegerField(blank=True, null=True)),
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
        ),
        migrations.CreateModel(
            name="CodeKey",
            fields=[
                (
                    "game",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="accounts.game",
                    ),
                ),
                ("sealed", models.TextField()),
            ],
        ),
        migrations.AlterField(
            model_name="grant",
            name="source",
            field=models.CharField(
                choices=[
                    ("game", "Game"),
                    ("server", "Server"),
                    ("staff", "Staff"),
                    ("code", "Code"),
                ],
                max_length=6,
            ),
        ),
        migrations.CreateModel(
            name="CampaignUse",
            fields=[
                (
                    "campaign",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="use",
                        serialize=False,
                        to="store.campaign",
                    ),
                ),
                ("redemptions", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="CodeBatch",
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
                ("note", models.CharField(blank=True, max_length=100)),
                ("count", models.PositiveIntegerField()),
                ("made", models.PositiveIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[("due", "Due"), ("done", "Done")], default="due", max_length=4
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_error", models.CharField(blank=True, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
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
                    "campaign",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="batches",
                        to="store.campaign",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "code batches",
            },
        ),
        migrations.CreateModel(
            name="Code",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField(null=True)),
                ("word", models.CharField(blank=True, max_length=30)),
                ("hash", models.BinaryField(max_length=16)),
                ("last4", models.CharField(max_length=4)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("used", "Used"), ("void", "Void")],
                        default="open",
                        max_length=4,
                    ),
                ),
                (
                    "campaign",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.campaign",
                    ),
                ),
                (
                    "game",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.codebatch",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="GrantRequest",
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
                ("currencies", models.JSONField(default=dict)),
                ("items", models.JSONField(default=dict)),
                ("reason", models.CharField(max_length=200)),
                ("token", models.UUIDField(unique=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("given", "Given"),
                            ("refused", "Refused"),
                            ("expired", "Expired"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("decision", models.CharField(blank=True, max_length=200)),
                ("decided_at", models.DateTimeField(null=True)),
                ("grant_id", models.UUIDField(null=True)),
                ("expires_at", models.DateTimeField()),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "decider",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
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
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "requester",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="GrantThreshold",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "amount",
                    models.BigIntegerField(
                        help_text="0: every grant is approved by a second person."
                    ),
                ),
                (
                    "currency",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.currency",
                    ),
                ),
                (
                    "game",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
                (
                    "item",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.item",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Redemption",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("is_single", models.BooleanField()),
                ("created_at", models.DateTimeField()),
                (
                    "campaign",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="store.campaign",
                    ),
                ),
                (
                    "code",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="store.code",
                    ),
                ),
                (
                    "game",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
                (
                    "player",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.UniqueConstraint(fields=("game", "key"), name="store_campaign_once"),
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("starts_at", None),
                    ("ends_at", None),
                    ("starts_at__lt", models.F("ends_at")),
                    _connector="OR",
                ),
                name="store_campaign_window",
            ),
        ),
        migrations.AddConstraint(
            model_name="campaign",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("limit_per_player__gte", 1),
                    models.Q(
                        ("max_redemptions", None), ("max_redemptions__gte", 1), _connector="OR"
                    ),
                ),
                name="store_campaign_limits",
            ),
        ),
        migrations.AddIndex(
            model_name="codebatch",
            index=models.Index(
                condition=models.Q(("state", "due")),
                fields=["next_attempt_at"],
                name="store_codebatch_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="codebatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("count__gte", 1), ("made__lte", models.F("count"))),
                name="store_codebatch_made",
            ),
        ),
        migrations.AddConstraint(
            model_name="codebatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "due"),
                    models.Q(("made", models.F("count")), ("state", "done")),
                    _connector="OR",
                ),
                name="store_codebatch_state",
            ),
        ),
        migrations.AddIndex(
            model_name="code",
            index=models.Index(
                condition=models.Q(("word", ""), _negated=True),
                fields=["campaign"],
                name="store_code_word",
            ),
        ),
        migrations.AddConstraint(
            model_name="code",
            constraint=models.UniqueConstraint(fields=("game", "hash"), name="store_code_once"),
        ),
        migrations.AddConstraint(
            model_name="code",
            constraint=models.UniqueConstraint(
                condition=models.Q(("word", "")),
                fields=("batch", "number"),
                name="store_code_number",
            ),
        ),
        migrations.AddConstraint(
            model_name="code",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("batch__isnull", False), ("number__isnull", False), ("word", "")),
                    models.Q(
                        ("batch", None),
                        ("number", None),
                        models.Q(("word", ""), _negated=True),
                        models.Q(("state", "used"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="store_code_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="code",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ("open", "used", "void"))), name="store_code_state"
            ),
        ),
        migrations.AddIndex(
            model_name="grantrequest",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["expires_at"],
                name="store_grantrequest_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="grantrequest",
            index=models.Index(fields=["player", "-id"], name="store_grantrequest_player"),
        ),
        migrations.AddConstraint(
            model_name="grantrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decider", None),
                    models.Q(("decider", models.F("requester")), _negated=True),
                    _connector="OR",
                ),
                name="store_grantrequest_second_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="grantrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("decider", None), ("grant_id", None), ("state__in", ("waiting", "expired"))
                    ),
                    models.Q(("decider__isnull", False), ("grant_id", None), ("state", "refused")),
                    models.Q(
                        ("decider__isnull", False), ("grant_id__isnull", False), ("state", "given")
                    ),
                    _connector="OR",
                ),
                name="store_grantrequest_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="grantthreshold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("currency__isnull", False), ("item", None)),
                    models.Q(("currency", None), ("item__isnull", False)),
                    _connector="OR",
                ),
                name="store_grantthreshold_what",
            ),
        ),
        migrations.AddConstraint(
            model_name="grantthreshold",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0)), name="store_grantthreshold_amount"
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(
                fields=["player", "campaign", "-id"], name="store_redemption_player"
            ),
        ),
        migrations.AddIndex(
            model_name="redemption",
            index=models.Index(fields=["campaign", "-id"], name="store_redemption_campaign"),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.UniqueConstraint(
                fields=("code", "player"), name="store_redemption_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_single", True)),
                fields=("code",),
                name="store_redemption_single",
            ),
        ),
    ]
