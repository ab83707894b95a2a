"""Questions that a client called answered wrong stay above all others: 2 became 100."""

from django.db import migrations

FORWARD = """
UPDATE labeling_question SET priority = 100
WHERE state = 'open' AND priority >= 2 AND priority < 100
"""
BACKWARD = """
UPDATE labeling_question SET priority = 2 WHERE state = 'open' AND priority >= 100
"""


class Migration(migrations.Migration):
    dependencies = [("labeling", "0008_unranked_first")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
