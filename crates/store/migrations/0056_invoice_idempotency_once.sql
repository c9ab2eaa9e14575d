CREATE UNIQUE INDEX IF NOT EXISTS invoice_once_per_key ON billing.invoice (tenant, idempotency_key);
