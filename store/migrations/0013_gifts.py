"""Gifts between friends, of offers that the game allows it for."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_friends"),
        ("store", "0012_merges"),
    ]

    operations = [
        migrations.AddField(
            model_name="offer",
            name="is_giftable",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name="transaction",
            name="kind",
            field=models.CharField(
                choices=[
                    ("initial", "Initial"),
                    ("purchase", "Purchase"),
                    ("grant", "Grant"),
                    ("consumption", "Consumption"),
                    ("refund", "Refund"),
                    ("gift", "Gift"),
                    ("merge", "Merge"),
                ],
                max_length=12,
            ),
        ),
        migrations.CreateModel(
            name="Gift",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("quantity", models.PositiveIntegerField()),
                ("currencies", models.JSONField(default=dict)),
                ("items", models.JSONField(default=dict)),
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
                    "purchase",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="gift",
                        to="store.purchase",
                    ),
                ),
                (
                    "recipient",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="accounts.player",
                    ),
                ),
                (
                    "sender",
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
                "indexes": [
                    models.Index(fields=["sender", "-created_at", "-id"], name="store_gift_sender"),
                    models.Index(
                        fields=["recipient", "-created_at", "-id"], name="store_gift_recipient"
                    ),
                ],
            },
        ),
    ]
