-- Usage that no card prices: visible, and in the way of a close.
CREATE TABLE IF NOT EXISTS billing.unpriced (
    tenant uuid NOT NULL,
    period_from_microseconds bigint NOT NULL,
    meter text NOT NULL,
    plan_uid uuid NOT NULL,
    generation bigint NOT NULL,
    quantity numeric(39, 0) NOT NULL,
    PRIMARY KEY (tenant, period_from_microseconds, meter, plan_uid, generation)
);
