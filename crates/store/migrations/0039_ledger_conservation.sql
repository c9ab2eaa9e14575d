-- Conservation: at commit every transaction has entries, in its own currency, that sum to zero.
CREATE OR REPLACE FUNCTION ledger.check_conservation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entries bigint;
    strangers bigint;
    total numeric;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE entry.currency <> NEW.currency), coalesce(sum(entry.amount_minor), 0)
        INTO entries, strangers, total
        FROM ledger.entry WHERE entry.tenant = NEW.tenant AND entry.txn = NEW.id;
    IF entries < 2 OR strangers > 0 OR total <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % does not balance: % entries, % in another currency, sum %',
            NEW.id, entries, strangers, total USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
