"""Looking up who was active keeps to its index.

A connection keeps its plans, and those that it made while a day's table was nearly empty would read
all of it at each sign-in ever after, until somebody analyzes the table (docs/adr/0078).
"""

from django.db import migrations

FUNCTIONS = (
    "analytics_mark_active(uuid, date, uuid, boolean, timestamptz, text, text, text)",
    "analytics_pseudonym(uuid, date)",
)


class Migration(migrations.Migration):
    dependencies = [("analytics", "0003_known_players")]

    operations = [
        migrations.RunSQL(
            f"ALTER FUNCTION {function} SET enable_seqscan = off",
            f"ALTER FUNCTION {function} RESET enable_seqscan",
        )
        for function in FUNCTIONS
    ]
