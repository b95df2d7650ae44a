import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import config.db.ids
from config.db.partitions import CreatePartitioned


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Currency",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=100)),
                ("initial", models.BigIntegerField(default=0)),
                ("max", models.BigIntegerField(default=9223372036854775807)),
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
                "verbose_name_plural": "currencies",
            },
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "player_id",
                        "currency_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("paid", models.BigIntegerField()),
                ("earned", models.BigIntegerField()),
                ("in_debt", models.BooleanField(default=False)),
                ("updated_at", models.DateTimeField()),
                (
                    "player",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "currency",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.currency",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                (
                    "source",
                    models.CharField(
                        choices=[("game", "Game"), ("server", "Server"), ("staff", "Staff")],
                        max_length=6,
                    ),
                ),
                ("actor", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(max_length=200)),
                ("reference", models.CharField(blank=True, max_length=200)),
                ("currencies", models.JSONField(default=dict)),
                ("items", models.JSONField(default=dict)),
                ("clipped", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
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
        migrations.CreateModel(
            name="Item",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("durable", "Durable"), ("consumable", "Consumable")],
                        default="durable",
                        max_length=10,
                    ),
                ),
                ("max_stack", models.BigIntegerField(default=1000000000000)),
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
            name="Offer",
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
                ("contents", models.JSONField(default=dict)),
                ("price", models.JSONField(blank=True, default=dict)),
                ("products", models.JSONField(blank=True, default=dict)),
                ("reference_minor_units", models.BigIntegerField(blank=True, null=True)),
                ("reference_currency", models.CharField(blank=True, max_length=3)),
                ("limit_per_player", models.PositiveIntegerField(blank=True, null=True)),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
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
            name="OfferUse",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "player_id",
                        "offer_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("quantity", models.PositiveIntegerField()),
                (
                    "offer",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.offer",
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
            name="Purchase",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("quantity", models.PositiveIntegerField()),
                ("price", models.JSONField()),
                ("granted", models.JSONField()),
                ("created_at", models.DateTimeField()),
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
                    "offer",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="store.offer",
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
        migrations.CreateModel(
            name="Stack",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "player_id",
                        "item_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("quantity", models.BigIntegerField()),
                ("updated_at", models.DateTimeField()),
                (
                    "item",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="store.item",
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
            name="Transaction",
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
                    "kind",
                    models.CharField(
                        choices=[
                            ("initial", "Initial"),
                            ("purchase", "Purchase"),
                            ("grant", "Grant"),
                            ("consumption", "Consumption"),
                            ("refund", "Refund"),
                        ],
                        max_length=12,
                    ),
                ),
                ("key", models.CharField(max_length=300)),
                ("fingerprint", models.BinaryField(max_length=32, null=True)),
                ("reason", models.CharField(max_length=200)),
                ("reference", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField()),
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
            options={
                "verbose_name": "ledger transaction",
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[],
            options={"proxy": True, "indexes": [], "constraints": []},
            bases=("accounts.player",),
        ),
        CreatePartitioned(
            migrations.CreateModel(
                name="StackMovement",
                fields=[
                    (
                        "pk",
                        models.CompositePrimaryKey(
                            "created_at",
                            "id",
                            blank=True,
                            editable=False,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("created_at", models.DateTimeField()),
                    ("id", models.UUIDField(editable=False)),
                    ("quantity", models.BigIntegerField()),
                    ("quantity_after", models.BigIntegerField()),
                    (
                        "item",
                        models.ForeignKey(
                            db_constraint=False,
                            db_index=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="store.item",
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
                        "transaction",
                        models.ForeignKey(
                            db_constraint=False,
                            db_index=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="store.transaction",
                        ),
                    ),
                ],
                options={
                    "db_table": "store_stackmovement",
                },
            ),
            columns="""
                created_at timestamptz NOT NULL,
                id uuid NOT NULL,
                transaction_id uuid NOT NULL,
                player_id uuid NOT NULL,
                item_id bigint NOT NULL,
                quantity bigint NOT NULL,
                quantity_after bigint NOT NULL,
                PRIMARY KEY (created_at, id)
            """,
            column="created_at",
        ),
        CreatePartitioned(
            migrations.CreateModel(
                name="Entry",
                fields=[
                    (
                        "pk",
                        models.CompositePrimaryKey(
                            "created_at",
                            "id",
                            blank=True,
                            editable=False,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("created_at", models.DateTimeField()),
                    ("id", models.UUIDField(editable=False)),
                    (
                        "account",
                        models.CharField(
                            choices=[
                                ("wallet", "a player's wallet"),
                                ("source:initial", "the balance that a player begins with"),
                                ("source:grant", "rewards and grants"),
                                ("source:purchase", "contents of what players bought"),
                                ("sink:purchase", "what players paid"),
                                ("sink:refund", "what refunds took back"),
                            ],
                            max_length=20,
                        ),
                    ),
                    ("paid", models.BigIntegerField()),
                    ("earned", models.BigIntegerField()),
                    ("paid_after", models.BigIntegerField(null=True)),
                    ("earned_after", models.BigIntegerField(null=True)),
                    (
                        "currency",
                        models.ForeignKey(
                            db_constraint=False,
                            db_index=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="store.currency",
                        ),
                    ),
                    (
                        "player",
                        models.ForeignKey(
                            db_constraint=False,
                            db_index=False,
                            null=True,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="accounts.player",
                        ),
                    ),
                    (
                        "transaction",
                        models.ForeignKey(
                            db_constraint=False,
                            db_index=False,
                            on_delete=django.db.models.deletion.DO_NOTHING,
                            related_name="+",
                            to="store.transaction",
                        ),
                    ),
                ],
                options={
                    "db_table": "store_entry",
                    "verbose_name_plural": "entries",
                },
            ),
            columns="""
                created_at timestamptz NOT NULL,
                id uuid NOT NULL,
                transaction_id uuid NOT NULL,
                currency_id bigint NOT NULL,
                account varchar(20) NOT NULL,
                player_id uuid,
                paid bigint NOT NULL,
                earned bigint NOT NULL,
                paid_after bigint,
                earned_after bigint,
                PRIMARY KEY (created_at, id)
            """,
            column="created_at",
        ),
        migrations.AddConstraint(
            model_name="currency",
            constraint=models.UniqueConstraint(fields=("game", "key"), name="store_currency_once"),
        ),
        migrations.AddConstraint(
            model_name="currency",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("initial__gte", 0), ("initial__lte", models.F("max")), ("max__gte", 1)
                ),
                name="store_currency_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="balance",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("earned__gte", 0),
                    models.Q(("paid__gte", 0), ("in_debt", True), _connector="OR"),
                ),
                name="store_balance_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="balance",
            constraint=models.CheckConstraint(
                condition=models.Q(("in_debt", False), ("paid__lt", 0), _connector="OR"),
                name="store_balance_debt",
            ),
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(fields=["player", "-id"], name="store_grant_player"),
        ),
        migrations.AddConstraint(
            model_name="item",
            constraint=models.UniqueConstraint(fields=("game", "key"), name="store_item_once"),
        ),
        migrations.AddConstraint(
            model_name="item",
            constraint=models.CheckConstraint(
                condition=models.Q(("max_stack__gte", 1), ("max_stack__lte", 1000000000000)),
                name="store_item_max_stack",
            ),
        ),
        migrations.AddConstraint(
            model_name="item",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ("durable", "consumable"))), name="store_item_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="offer",
            constraint=models.UniqueConstraint(fields=("game", "key"), name="store_offer_once"),
        ),
        migrations.AddConstraint(
            model_name="offer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("starts_at", None),
                    ("ends_at", None),
                    ("starts_at__lt", models.F("ends_at")),
                    _connector="OR",
                ),
                name="store_offer_window",
            ),
        ),
        migrations.AddConstraint(
            model_name="offer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("limit_per_player", None), ("limit_per_player__gte", 1), _connector="OR"
                ),
                name="store_offer_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="offer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reference_currency", ""), ("reference_minor_units", None)),
                    models.Q(
                        ("reference_currency__regex", "^[A-Z]{3}$"),
                        ("reference_minor_units__gte", 0),
                    ),
                    _connector="OR",
                ),
                name="store_offer_reference_price",
            ),
        ),
        migrations.AddIndex(
            model_name="purchase",
            index=models.Index(fields=["player", "-id"], name="store_purchase_player"),
        ),
        migrations.AddConstraint(
            model_name="stack",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 0), ("quantity__lte", 1000000000000)),
                name="store_stack_quantity",
            ),
        ),
        migrations.AddConstraint(
            model_name="transaction",
            constraint=models.UniqueConstraint(
                fields=("game", "key"), name="store_transaction_once"
            ),
        ),
        migrations.AddIndex(
            model_name="stackmovement",
            index=models.Index(
                fields=["player", "-created_at", "-id"], name="store_stackmovement_player"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("player__isnull", False)),
                fields=["player", "-created_at", "-id"],
                name="store_entry_player",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("account", "wallet"),
                        ("earned_after__isnull", False),
                        ("paid_after__isnull", False),
                        ("player__isnull", False),
                    ),
                    models.Q(
                        ("earned_after", None),
                        ("paid_after", None),
                        ("player", None),
                        models.Q(("account", "wallet"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="store_entry_account",
            ),
        ),
    ]
