-- A key leads to its line without the account: explanations are asked for by key alone.
CREATE INDEX IF NOT EXISTS line_by_key ON billing.line (line_key);
