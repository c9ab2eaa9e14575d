-- Issued documents, numbered without gaps per legal entity and series; never changed.
CREATE TABLE IF NOT EXISTS billing.invoice (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    entity text NOT NULL,
    series text NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    tenant_name text NOT NULL,
    customer jsonb NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    through_microseconds bigint NOT NULL,
    issued_at_microseconds bigint NOT NULL,
    net_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    total_minor bigint NOT NULL CHECK (total_minor >= 0 AND total_minor = net_minor + tax_minor),
    txn uuid,
    PRIMARY KEY (tenant, id),
    UNIQUE (entity, series, number),
    FOREIGN KEY (tenant, txn) REFERENCES ledger.txn (tenant, id)
);
