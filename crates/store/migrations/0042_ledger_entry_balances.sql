DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'entry_balances') THEN
        CREATE CONSTRAINT TRIGGER entry_balances AFTER INSERT ON ledger.entry
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_entry();
    END IF;
END $$;
