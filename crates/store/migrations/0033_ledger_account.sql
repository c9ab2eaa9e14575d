-- Where money is. The stored balance is the sum of the account's entries; debit is positive.
CREATE TABLE IF NOT EXISTS ledger.account (
    tenant uuid NOT NULL,
    name text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    posted_minor bigint NOT NULL DEFAULT 0 CHECK (posted_minor BETWEEN -1000000000000000000 AND 1000000000000000000),
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    PRIMARY KEY (tenant, name, currency)
);
