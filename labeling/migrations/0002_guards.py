"""What no code path may do, refused by the database itself."""

from django.db import migrations

FORWARD = """
CREATE SEQUENCE labeling_lease_token;

-- A test question stays one, and a question that a dataset holds can't become one.
CREATE FUNCTION labeling_guard_split() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.split = 'test' THEN
        RAISE EXCEPTION 'question % is a test question and stays one', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.split = 'test' AND EXISTS (
        SELECT 1 FROM labeling_datasetitem WHERE question_id = OLD.id
    ) THEN
        RAISE EXCEPTION 'question % was trained on and cannot test', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER labeling_guard_split BEFORE UPDATE OF split ON labeling_question
    FOR EACH ROW WHEN (OLD.split IS DISTINCT FROM NEW.split)
    EXECUTE FUNCTION labeling_guard_split();

-- A test question never enters a dataset; items never change.
CREATE FUNCTION labeling_guard_datasetitem() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'datasets are immutable' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (
        SELECT 1 FROM labeling_question WHERE id = NEW.question_id AND split = 'test'
    ) THEN
        RAISE EXCEPTION 'question % is a test question', NEW.question_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER labeling_guard_datasetitem
    BEFORE INSERT OR UPDATE ON labeling_datasetitem
    FOR EACH ROW EXECUTE FUNCTION labeling_guard_datasetitem();
"""

BACKWARD = """
DROP TRIGGER labeling_guard_datasetitem ON labeling_datasetitem;
DROP FUNCTION labeling_guard_datasetitem();
DROP TRIGGER labeling_guard_split ON labeling_question;
DROP FUNCTION labeling_guard_split();
DROP SEQUENCE labeling_lease_token;
"""


class Migration(migrations.Migration):
    dependencies = [("labeling", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
