-- Which plan an account is on from an instant on, until the next.
CREATE TABLE IF NOT EXISTS registry.subscription (
    tenant uuid NOT NULL,
    id uuid NOT NULL,
    plan_uid uuid NOT NULL,
    plan_name text NOT NULL,
    from_microseconds bigint NOT NULL,
    time_zone text NOT NULL,
    anchor_day smallint NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
    PRIMARY KEY (tenant, from_microseconds)
);
