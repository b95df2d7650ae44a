from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Written and read meanwhile.
    atomic = False
    dependencies = [("accounts", "0004_friends")]

    operations = [
        AddIndexConcurrently(
            "player",
            models.Index(
                fields=("merged_into",),
                name="accounts_player_merged",
                condition=models.Q(merged_into__isnull=False),
            ),
        ),
        AddIndexConcurrently("block", models.Index(fields=("blocked",), name="accounts_block_of")),
    ]
