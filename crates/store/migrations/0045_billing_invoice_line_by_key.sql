CREATE INDEX IF NOT EXISTS invoice_line_by_key ON billing.invoice_line (tenant, line_key);
