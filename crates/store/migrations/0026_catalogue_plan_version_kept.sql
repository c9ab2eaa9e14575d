CREATE OR REPLACE TRIGGER plan_version_kept BEFORE UPDATE OR DELETE ON catalogue.plan_version
    FOR EACH ROW EXECUTE FUNCTION catalogue.refuse_change();
