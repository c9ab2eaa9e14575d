DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'txn_balances') THEN
        CREATE CONSTRAINT TRIGGER txn_balances AFTER INSERT ON ledger.txn
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_conservation();
    END IF;
END $$;
