"""A batch says itself whether it goes on, and which artifact folder it writes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0003_evaluation_run")]

    operations = [
        migrations.AddField(
            model_name="trainingbatch",
            name="is_incremental",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Trains on new labels and some old ones, not on all of them.",
                verbose_name="incremental",
            ),
        ),
        migrations.AddField(
            model_name="trainingbatch",
            name="artifact",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Folder in the artifact storage that a run writes, or wrote: whoever ends the batch without a version deletes it.",
                max_length=100,
                verbose_name="artifact",
            ),
        ),
    ]
