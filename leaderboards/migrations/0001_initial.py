import django.core.serializers.json
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
            name="Board",
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
                ("name", models.CharField(max_length=100)),
                (
                    "sort",
                    models.CharField(
                        choices=[("desc", "highest first"), ("asc", "lowest first")],
                        default="desc",
                        max_length=4,
                    ),
                ),
                (
                    "keep",
                    models.CharField(
                        choices=[("best", "Best"), ("last", "Last"), ("sum", "Sum")],
                        default="best",
                        max_length=4,
                    ),
                ),
                (
                    "reset",
                    models.CharField(
                        blank=True,
                        help_text="When a season ends: cron, in the game's time zone. Empty: never.",
                        max_length=100,
                    ),
                ),
                ("min_score", models.BigIntegerField(blank=True, null=True)),
                ("max_score", models.BigIntegerField(blank=True, null=True)),
                ("requires_run", models.BooleanField(default=False)),
                ("bucket_size", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "rewards",
                    models.JSONField(
                        blank=True,
                        default=list,
                        encoder=django.core.serializers.json.DjangoJSONEncoder,
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
        ),
        migrations.CreateModel(
            name="Season",
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
                ("number", models.PositiveIntegerField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "board",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="seasons",
                        to="leaderboards.board",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "season",
                        "player",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("score", models.BigIntegerField()),
                ("order_key", models.BigIntegerField()),
                ("achieved_at", models.DateTimeField()),
                ("previous_score", models.BigIntegerField(null=True)),
                ("metadata", models.JSONField(null=True)),
                ("version", models.BigIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("ranked", "Ranked"),
                            ("hidden", "Hidden"),
                            ("tester", "Tester"),
                            ("removed", "Removed"),
                        ],
                        default="ranked",
                        max_length=7,
                    ),
                ),
                (
                    "player",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "season",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="leaderboards.season",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="board",
            constraint=models.UniqueConstraint(
                fields=("game", "key"), name="leaderboards_board_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="board",
            constraint=models.CheckConstraint(
                condition=models.Q(("sort__in", ("asc", "desc"))), name="leaderboards_board_sort"
            ),
        ),
        migrations.AddConstraint(
            model_name="board",
            constraint=models.CheckConstraint(
                condition=models.Q(("keep__in", ("best", "last", "sum"))),
                name="leaderboards_board_keep",
            ),
        ),
        migrations.AddConstraint(
            model_name="board",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("min_score__isnull", True),
                    ("max_score__isnull", True),
                    ("min_score__lte", models.F("max_score")),
                    _connector="OR",
                ),
                name="leaderboards_board_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="season",
            constraint=models.UniqueConstraint(
                fields=("board", "number"), name="leaderboards_season_number"
            ),
        ),
        migrations.AddConstraint(
            model_name="season",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_at__isnull", True),
                    ("ends_at__gt", models.F("starts_at")),
                    _connector="OR",
                ),
                name="leaderboards_season_span",
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                condition=models.Q(("state", "ranked")),
                fields=["season", "order_key", "achieved_at", "player"],
                name="leaderboards_entry_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ("ranked", "hidden", "tester", "removed"))),
                name="leaderboards_entry_state",
            ),
        ),
        CreatePartitioned(
            migrations.CreateModel(
                name="Submission",
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
                    ("id", models.UUIDField(default=config.db.ids.uuid7)),
                    ("game_id", models.UUIDField()),
                    ("season_id", models.UUIDField()),
                    ("player_id", models.UUIDField()),
                    ("score", models.BigIntegerField(null=True)),
                    ("metadata", models.JSONField(null=True)),
                    (
                        "verdict",
                        models.CharField(
                            choices=[
                                ("accepted", "Accepted"),
                                ("refused", "Refused"),
                                ("hidden", "Hidden"),
                                ("shown", "Shown"),
                                ("removed", "Removed"),
                            ],
                            max_length=8,
                        ),
                    ),
                    ("reason", models.CharField(blank=True, max_length=200)),
                    ("author", models.CharField(max_length=150)),
                ],
                options={
                    "db_table": "leaderboards_submission",
                },
            ),
            columns="""
                created_at timestamptz NOT NULL,
                id uuid NOT NULL,
                game_id uuid NOT NULL,
                season_id uuid NOT NULL,
                player_id uuid NOT NULL,
                score bigint,
                metadata jsonb,
                verdict varchar(8) NOT NULL,
                reason varchar(200) NOT NULL DEFAULT '',
                author varchar(150) NOT NULL,
                PRIMARY KEY (created_at, id)
            """,
            column="created_at",
        ),
        migrations.RunSQL(
            """
            CREATE VIEW leaderboards_entryrow AS
            SELECT season_id::text || ':' || player_id::text AS id, season_id, player_id, score,
                   order_key, achieved_at, metadata, version, state
            FROM leaderboards_entry
            """,
            "DROP VIEW leaderboards_entryrow",
        ),
        migrations.CreateModel(
            name="EntryRow",
            fields=[
                ("id", models.CharField(max_length=73, primary_key=True, serialize=False)),
                ("score", models.BigIntegerField()),
                ("achieved_at", models.DateTimeField()),
                ("metadata", models.JSONField(null=True)),
                ("version", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("ranked", "Ranked"),
                            ("hidden", "Hidden"),
                            ("tester", "Tester"),
                            ("removed", "Removed"),
                        ],
                        max_length=7,
                    ),
                ),
            ],
            options={
                "verbose_name": "entry",
                "verbose_name_plural": "entries",
                "db_table": "leaderboards_entryrow",
                "managed": False,
                "default_permissions": ("view", "change"),
            },
        ),
    ]
