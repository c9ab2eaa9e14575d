-- The key under which an invoice was asked for: asking again gives the same invoice, for ever.
ALTER TABLE billing.invoice ADD COLUMN IF NOT EXISTS idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 200);
