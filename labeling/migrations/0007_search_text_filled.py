"""Each question's text is there to be searched: those of today and all that come."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION labeling_fold(text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT lower(normalize($1, NFKC)) $$;

INSERT INTO labeling_searchtext (question_id, project_id, folded)
SELECT id, project_id, labeling_fold(text) FROM labeling_question;

-- Once a statement: an import writes thousands of questions with one.
CREATE FUNCTION labeling_fill_search_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO labeling_searchtext (question_id, project_id, folded)
    SELECT id, project_id, labeling_fold(text) FROM created;
    RETURN NULL;
END $$;
CREATE TRIGGER labeling_fill_search_text AFTER INSERT ON labeling_question
    REFERENCING NEW TABLE AS created
    FOR EACH STATEMENT EXECUTE FUNCTION labeling_fill_search_text();

CREATE FUNCTION labeling_change_search_text() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE labeling_searchtext
    SET folded = labeling_fold(NEW.text), project_id = NEW.project_id
    WHERE question_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER labeling_change_search_text
    AFTER UPDATE OF text, project_id ON labeling_question
    FOR EACH ROW WHEN (
        OLD.text IS DISTINCT FROM NEW.text
        OR OLD.project_id IS DISTINCT FROM NEW.project_id
    ) EXECUTE FUNCTION labeling_change_search_text();
"""

BACKWARD = """
DROP TRIGGER labeling_change_search_text ON labeling_question;
DROP FUNCTION labeling_change_search_text();
DROP TRIGGER labeling_fill_search_text ON labeling_question;
DROP FUNCTION labeling_fill_search_text();
DROP FUNCTION labeling_fold(text);
TRUNCATE labeling_searchtext;
"""


class Migration(migrations.Migration):
    dependencies = [("labeling", "0006_search_text")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
