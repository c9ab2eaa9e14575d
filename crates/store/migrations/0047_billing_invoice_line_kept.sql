CREATE OR REPLACE TRIGGER invoice_line_kept BEFORE UPDATE OR DELETE ON billing.invoice_line
    FOR EACH ROW EXECUTE FUNCTION catalogue.refuse_change();
