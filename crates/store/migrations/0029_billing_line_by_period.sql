CREATE INDEX IF NOT EXISTS line_by_period ON billing.line (tenant, period_from_microseconds, meter);
