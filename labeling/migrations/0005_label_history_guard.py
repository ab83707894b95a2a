"""A label's history is written once: the database refuses to change it."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION labeling_guard_label_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history of labels is append-only'
        USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER labeling_guard_label_change BEFORE UPDATE ON labeling_labelchange
    FOR EACH ROW EXECUTE FUNCTION labeling_guard_label_change();
"""

BACKWARD = """
DROP TRIGGER labeling_guard_label_change ON labeling_labelchange;
DROP FUNCTION labeling_guard_label_change();
"""


class Migration(migrations.Migration):
    dependencies = [("labeling", "0004_workspace")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
