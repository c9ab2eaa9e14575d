-- Live bill lines: the cumulative amount of one item, card, cell and version in one period. Written as absolute values.
-- No instant is billed twice under one card, whatever wrote the lines.
CREATE TABLE IF NOT EXISTS billing.line (
    tenant uuid NOT NULL,
    line_key text NOT NULL,
    subscription uuid NOT NULL,
    plan_uid uuid NOT NULL,
    generation bigint NOT NULL,
    rate_card text NOT NULL,
    description text NOT NULL,
    meter text,
    resource_uid uuid,
    kind text NOT NULL,
    project text NOT NULL,
    object_name text NOT NULL,
    part text NOT NULL,
    period_name text NOT NULL,
    period_from_microseconds bigint NOT NULL,
    period_to_microseconds bigint NOT NULL,
    quantity numeric(39, 0) NOT NULL CHECK (quantity >= 0),
    display_quantity text NOT NULL,
    display_unit text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN -1000000000000000000 AND 1000000000000000000),
    explanation jsonb NOT NULL,
    facts bigint NOT NULL CHECK (facts >= 0),
    estimated_facts bigint NOT NULL CHECK (estimated_facts BETWEEN 0 AND facts),
    billed tstzmultirange NOT NULL,
    state text NOT NULL CHECK (state IN ('live', 'void')),
    PRIMARY KEY (tenant, line_key),
    CONSTRAINT line_once EXCLUDE USING gist (
        tenant WITH =, subscription WITH =, COALESCE(resource_uid, subscription) WITH =, rate_card WITH =, part WITH =,
        billed WITH &&
    ) WHERE (state <> 'void') DEFERRABLE INITIALLY DEFERRED
);
