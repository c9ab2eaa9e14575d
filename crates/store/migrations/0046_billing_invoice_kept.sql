CREATE OR REPLACE TRIGGER invoice_kept BEFORE UPDATE OR DELETE ON billing.invoice
    FOR EACH ROW EXECUTE FUNCTION catalogue.refuse_change();
