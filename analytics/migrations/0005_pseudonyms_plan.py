"""The salts are a row a day: there is nothing that their look-up could read too much of, and each
setting of a function costs every sign-in."""

from django.db import migrations

FUNCTION = "analytics_pseudonym(uuid, date)"


class Migration(migrations.Migration):
    dependencies = [("analytics", "0004_plans_that_last")]

    operations = [
        migrations.RunSQL(
            f"ALTER FUNCTION {FUNCTION} RESET enable_seqscan",
            f"ALTER FUNCTION {FUNCTION} SET enable_seqscan = off",
        )
    ]
