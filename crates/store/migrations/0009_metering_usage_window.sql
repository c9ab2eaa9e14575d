-- Quantities by window: absolute values of the fold's state, never increments. Instants are UTC microseconds.
CREATE TABLE IF NOT EXISTS metering.usage_window (
    tenant uuid NOT NULL,
    resource_uid uuid NOT NULL,
    meter text NOT NULL,
    part text NOT NULL,
    window_start_microseconds bigint NOT NULL,
    plan_uid uuid,
    plan_generation bigint,
    quantity numeric(39, 0) NOT NULL CHECK (quantity >= 0),
    facts bigint NOT NULL CHECK (facts >= 0),
    estimated_facts bigint NOT NULL CHECK (estimated_facts BETWEEN 0 AND facts),
    CHECK ((plan_uid IS NULL) = (plan_generation IS NULL)),
    CONSTRAINT usage_window_once UNIQUE NULLS NOT DISTINCT
        (tenant, resource_uid, meter, part, window_start_microseconds, plan_uid, plan_generation)
);
