"""The log says when rules stood in for the model, and when a text was cut."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("registry", "0002_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="classificationlog",
            name="degraded",
            field=models.BooleanField(
                default=False,
                help_text="The active version could not answer; rules alone did.",
                verbose_name="degraded",
            ),
        ),
        migrations.AddField(
            model_name="classificationlog",
            name="truncated",
            field=models.BooleanField(
                default=False,
                help_text="The text was longer than what the model reads.",
                verbose_name="cut",
            ),
        ),
        migrations.AlterField(
            model_name="servingprocess",
            name="serving",
            field=models.JSONField(
                default=dict,
                help_text="{project id: {version, revision, ready: [versions], failed: [versions], error}}",
                verbose_name="serving",
            ),
        ),
    ]
