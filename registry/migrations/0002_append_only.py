"""The activation audit and the classification log only ever grow."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION registry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER registry_activation_append_only
    BEFORE UPDATE OR DELETE ON registry_activation
    FOR EACH ROW EXECUTE FUNCTION registry_append_only();
CREATE TRIGGER registry_log_append_only
    BEFORE UPDATE ON registry_classificationlog
    FOR EACH ROW EXECUTE FUNCTION registry_append_only();
"""

BACKWARD = """
DROP TRIGGER registry_log_append_only ON registry_classificationlog;
DROP TRIGGER registry_activation_append_only ON registry_activation;
DROP FUNCTION registry_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
