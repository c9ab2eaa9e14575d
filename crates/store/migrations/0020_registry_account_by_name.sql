CREATE INDEX IF NOT EXISTS account_by_name ON registry.account (name, seen_at_microseconds);
