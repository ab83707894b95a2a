"""A question stands behind those that were compared with others, until it was too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("labeling", "0007_search_text_filled")]

    operations = [
        migrations.AlterField(
            model_name="question",
            name="diversity",
            field=models.FloatField(
                db_default=0.1,
                default=0.1,
                help_text="Factor of the priority, 0 to 1: low where others say the"
                " same.",
                verbose_name="diversity",
            ),
        ),
    ]
