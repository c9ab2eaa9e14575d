DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'invoice_adds_up') THEN
        CREATE CONSTRAINT TRIGGER invoice_adds_up AFTER INSERT ON billing.invoice
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.check_invoice_sum();
    END IF;
END $$;
