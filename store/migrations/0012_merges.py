"""Nothing is posted to a player who was merged into another: `merged`, and posted_id is who that
is (docs/adr/0019)."""

from importlib import import_module

from django.db import migrations, models

_speed = import_module("store.migrations.0008_ledger_speed")

OLD = _speed.POST.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
CHECK = """
    IF v_game IS DISTINCT FROM p_game THEN
        status := 'no_player';
        RETURN;
    END IF;
"""
NEW = (
    OLD.replace("    v_game uuid;\n", "    v_game uuid;\n    v_heir uuid;\n", 1)
    .replace("SELECT p.game_id, p.analytics", "SELECT p.game_id, p.merged_into_id, p.analytics", 1)
    .replace("INTO v_game, v_consent", "INTO v_game, v_heir, v_consent", 1)
    .replace(
        CHECK,
        CHECK
        + """    IF v_heir IS NOT NULL THEN
        status := 'merged';
        posted_id := v_heir;
        RETURN;
    END IF;
""",
        1,
    )
)


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0011_conflict_indexes"),
        ("accounts", "0003_merges"),
    ]

    operations = [
        migrations.RunSQL(NEW, OLD),
        migrations.AlterField(
            model_name="entry",
            name="account",
            field=models.CharField(
                choices=[
                    ("wallet", "a player's wallet"),
                    ("source:initial", "the balance that a player begins with"),
                    ("source:grant", "rewards and grants"),
                    ("source:purchase", "contents of what players bought"),
                    ("sink:purchase", "what players paid"),
                    ("sink:refund", "what refunds took back"),
                    ("transfer:merge", "what merged players brought along"),
                ],
                max_length=20,
            ),
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
                    ("merge", "Merge"),
                ],
                max_length=12,
            ),
        ),
    ]
