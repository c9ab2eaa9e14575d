CREATE TABLE IF NOT EXISTS ledger.entry (
    tenant uuid NOT NULL,
    txn uuid NOT NULL,
    n smallint NOT NULL CHECK (n >= 0),
    account_tenant uuid NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    PRIMARY KEY (tenant, txn, n),
    FOREIGN KEY (tenant, txn) REFERENCES ledger.txn (tenant, id),
    FOREIGN KEY (account_tenant, account, currency) REFERENCES ledger.account (tenant, name, currency)
);
