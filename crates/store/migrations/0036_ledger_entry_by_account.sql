CREATE INDEX IF NOT EXISTS entry_by_account ON ledger.entry (account_tenant, account, currency);
