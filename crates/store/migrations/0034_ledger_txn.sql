-- A movement of money: never changed, reversed at most once, and once per key.
CREATE TABLE IF NOT EXISTS ledger.txn (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    idempotency_key text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    kind text NOT NULL,
    reference text NOT NULL,
    actor text NOT NULL,
    reverses uuid,
    booked_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, idempotency_key),
    UNIQUE (tenant, reverses),
    FOREIGN KEY (tenant, reverses) REFERENCES ledger.txn (tenant, id)
);
