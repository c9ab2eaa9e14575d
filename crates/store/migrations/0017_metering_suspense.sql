-- Usage without an owner, or that cannot be believed: visible until it is released or a person decides.
CREATE TABLE IF NOT EXISTS metering.suspense (
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    resource_uid uuid NOT NULL,
    meter text NOT NULL,
    part text NOT NULL,
    cause text NOT NULL CHECK (cause IN ('unknownResource', 'unknownMeter', 'unreadable', 'implausible', 'afterClose')),
    facts bigint NOT NULL CHECK (facts >= 0),
    quantity numeric(39, 0) NOT NULL,
    from_microseconds bigint NOT NULL,
    to_microseconds bigint NOT NULL,
    overflowed bigint NOT NULL CHECK (overflowed >= 0),
    PRIMARY KEY (shard, resource_uid, meter, part, cause)
);
