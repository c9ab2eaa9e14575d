-- Time that nobody can vouch for. The account is the nil UUID while nobody is known to pay.
CREATE TABLE IF NOT EXISTS metering.gap (
    tenant uuid NOT NULL,
    resource_uid uuid NOT NULL,
    meter text NOT NULL,
    part text NOT NULL,
    from_microseconds bigint NOT NULL,
    cause text NOT NULL CHECK (cause IN ('noSeries', 'unobserved')),
    to_microseconds bigint CHECK (to_microseconds >= from_microseconds),
    informational boolean NOT NULL,
    filled boolean NOT NULL,
    policy text NOT NULL CHECK (policy IN ('hold', 'estimate', 'waive')),
    PRIMARY KEY (resource_uid, meter, part, from_microseconds, cause)
);
