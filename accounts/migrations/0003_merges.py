import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import config.db.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_session_player_unconstrained"),
    ]

    operations = [
        migrations.AddField(
            model_name="player",
            name="merged_into",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="accounts.player",
            ),
        ),
        migrations.CreateModel(
            name="Merge",
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
                            ("settling", "Settling"),
                            ("done", "Done"),
                            ("undone", "Undone"),
                        ],
                        default="settling",
                        max_length=8,
                    ),
                ),
                ("choices", models.JSONField(default=dict)),
                ("journal", models.JSONField(default=dict)),
                ("outcome", models.JSONField(default=dict)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField()),
                ("last_error", models.CharField(blank=True, max_length=500)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("undone_at", models.DateTimeField(blank=True, null=True)),
                ("undone_by", models.CharField(blank=True, max_length=150)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "absorbed",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "game",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.game",
                    ),
                ),
                (
                    "survivor",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["survivor", "-id"], name="accounts_merge_survivor"),
                    models.Index(fields=["absorbed", "-id"], name="accounts_merge_absorbed"),
                    models.Index(
                        condition=models.Q(("state", "settling")),
                        fields=["next_attempt_at"],
                        name="accounts_merge_settling",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "undone"), _negated=True),
                        fields=("absorbed",),
                        name="accounts_merge_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("survivor", models.F("absorbed")), _negated=True),
                        name="accounts_merge_two",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ("settling", "done", "undone"))),
                        name="accounts_merge_state",
                    ),
                ],
            },
        ),
    ]
