-- At commit the lines of an invoice sum to its net amount, to the last minor unit.
CREATE OR REPLACE FUNCTION billing.check_invoice_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    total numeric;
BEGIN
    SELECT coalesce(sum(amount_minor), 0) INTO total
        FROM billing.invoice_line WHERE tenant = NEW.tenant AND invoice = NEW.id;
    IF total <> NEW.net_minor THEN
        RAISE EXCEPTION 'invoice % %: its lines sum to %, its net is %', NEW.series, NEW.number, total, NEW.net_minor
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
