CREATE OR REPLACE TRIGGER entry_kept BEFORE UPDATE OR DELETE ON ledger.entry
    FOR EACH ROW EXECUTE FUNCTION catalogue.refuse_change();
