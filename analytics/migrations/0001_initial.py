import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import config.db.ids
from config.db.partitions import CreatePartitioned


class Migration(migrations.Migration):
    initial = True

    dependencies = [("accounts", "0001_initial")]

    operations = [
        CreatePartitioned(
            migrations.CreateModel(
                name="Event",
                fields=[
                    (
                        "pk",
                        models.CompositePrimaryKey(
                            "at",
                            "id",
                            blank=True,
                            editable=False,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("id", models.UUIDField(default=config.db.ids.uuid7)),
                    ("game_id", models.UUIDField()),
                    ("player_id", models.UUIDField(null=True)),
                    ("name", models.CharField(max_length=64)),
                    ("at", models.DateTimeField()),
                    ("received_at", models.DateTimeField(default=django.utils.timezone.now)),
                    ("source", models.SmallIntegerField(choices=[(0, "Client"), (1, "Server")])),
                    ("is_tester", models.BooleanField(default=False)),
                    ("session", models.CharField(blank=True, max_length=64)),
                    ("platform", models.CharField(blank=True, max_length=20)),
                    ("country", models.CharField(blank=True, max_length=2)),
                    ("app_version", models.CharField(blank=True, max_length=20)),
                    ("props", models.JSONField(default=dict)),
                ],
                options={
                    "db_table": "analytics_event",
                    "indexes": [
                        models.Index(fields=["game_id", "at"], name="analytics_event_by_time"),
                        models.Index(
                            condition=models.Q(("player_id__isnull", False)),
                            fields=["player_id", "at"],
                            name="analytics_event_by_player",
                        ),
                    ],
                },
            ),
            columns="""
                at timestamptz NOT NULL,
                received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                id uuid NOT NULL,
                game_id uuid NOT NULL,
                player_id uuid,
                source smallint NOT NULL,
                is_tester boolean NOT NULL DEFAULT false,
                name varchar(64) NOT NULL,
                session varchar(64) NOT NULL DEFAULT '',
                platform varchar(20) NOT NULL DEFAULT '',
                country varchar(2) NOT NULL DEFAULT '',
                app_version varchar(20) NOT NULL DEFAULT '',
                props jsonb NOT NULL DEFAULT '{}'""",
            column="at",
            # BRIN: rows are appended in the order in which they come in, so the blocks that the rollup
            # has not seen yet are found from a few bytes a megabyte.
            after="""
                CREATE INDEX analytics_event_by_time ON analytics_event (game_id, at);
                CREATE INDEX analytics_event_by_player ON analytics_event (player_id, at)
                    WHERE player_id IS NOT NULL;
                CREATE INDEX analytics_event_received ON analytics_event
                    USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);""",
        ),
        CreatePartitioned(
            migrations.CreateModel(
                name="EventId",
                fields=[
                    (
                        "pk",
                        models.CompositePrimaryKey(
                            "game_id",
                            "id",
                            "bucket",
                            blank=True,
                            editable=False,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("game_id", models.UUIDField()),
                    ("id", models.UUIDField()),
                    ("bucket", models.DateField()),
                    ("received_on", models.DateField()),
                ],
                options={"db_table": "analytics_eventid"},
            ),
            columns="""
                game_id uuid NOT NULL,
                id uuid NOT NULL,
                bucket date NOT NULL,
                received_on date NOT NULL,
                PRIMARY KEY (game_id, id, bucket)""",
            column="bucket",
            # Ids that are no UUIDv7 of a believable time; see analytics/services/batches.py.
            after="""
                CREATE TABLE analytics_eventid_p90000101 PARTITION OF analytics_eventid
                    FOR VALUES FROM ('9000-01-01') TO ('9000-02-01');""",
        ),
        CreatePartitioned(
            migrations.CreateModel(
                name="ActivePlayer",
                fields=[
                    (
                        "pk",
                        models.CompositePrimaryKey(
                            "game_id",
                            "day",
                            "who",
                            "seen_at",
                            blank=True,
                            editable=False,
                            primary_key=True,
                            serialize=False,
                        ),
                    ),
                    ("game_id", models.UUIDField()),
                    ("day", models.DateField()),
                    ("who", models.UUIDField()),
                    ("seen_at", models.DateTimeField()),
                    ("platform", models.CharField(blank=True, max_length=20)),
                    ("country", models.CharField(blank=True, max_length=2)),
                    ("app_version", models.CharField(blank=True, max_length=20)),
                ],
                options={
                    "db_table": "analytics_activeplayer",
                    "indexes": [
                        models.Index(fields=["game_id", "day", "who"], name="analytics_active_once")
                    ],
                },
            ),
            columns="""
                game_id uuid NOT NULL,
                day date NOT NULL,
                who uuid NOT NULL,
                seen_at timestamptz NOT NULL,
                platform varchar(20) NOT NULL DEFAULT '',
                country varchar(2) NOT NULL DEFAULT '',
                app_version varchar(20) NOT NULL DEFAULT ''""",
            column="day",
            after="CREATE INDEX analytics_active_once ON analytics_activeplayer (game_id, day, who);",
        ),
        migrations.CreateModel(
            name="DaySalt",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("salt", models.BinaryField(max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name="RollupProgress",
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
                ("seen_until", models.DateTimeField()),
            ],
            options={"verbose_name_plural": "rollup progress"},
        ),
        migrations.CreateModel(
            name="DailyFigure",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("metric", models.CharField(max_length=40)),
                ("split", models.CharField(blank=True, max_length=20)),
                ("label", models.CharField(blank=True, max_length=64)),
                ("value", models.BigIntegerField()),
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=("game", "metric", "split", "day", "label"),
                        name="analytics_dailyfigure_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RollupDay",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("day", models.DateField()),
                ("computed_at", models.DateTimeField()),
                ("took_ms", models.PositiveIntegerField()),
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
                "constraints": [
                    models.UniqueConstraint(fields=("game", "day"), name="analytics_rollupday_once")
                ],
            },
        ),
    ]
