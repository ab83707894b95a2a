"""Batches of before: those of the preset that goes on are incremental."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("training", "0004_batch_way")]

    operations = [
        migrations.RunSQL(
            "UPDATE training_trainingbatch SET is_incremental = true"
            " WHERE preset = 'incremental'",
            migrations.RunSQL.noop,
        ),
    ]
