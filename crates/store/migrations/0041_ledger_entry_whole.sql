-- An entry may only join the transaction that is being written: one added later would unbalance it unseen.
CREATE OR REPLACE FUNCTION ledger.check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    total numeric;
BEGIN
    SELECT coalesce(sum(amount_minor), 0) INTO total FROM ledger.entry WHERE tenant = NEW.tenant AND txn = NEW.txn;
    IF total <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance: sum %', NEW.txn, total
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
