-- Whose a resource is, and when: at most one account at a time.
CREATE TABLE IF NOT EXISTS registry.resource (
    tenant uuid NOT NULL,
    resource_uid uuid NOT NULL,
    valid_from_microseconds bigint NOT NULL,
    valid_to_microseconds bigint CHECK (valid_to_microseconds >= valid_from_microseconds),
    kind text NOT NULL,
    project text NOT NULL,
    name text NOT NULL,
    created_at_microseconds bigint NOT NULL,
    PRIMARY KEY (tenant, resource_uid, valid_from_microseconds),
    CONSTRAINT resource_once EXCLUDE USING gist (
        resource_uid WITH =, int8range(valid_from_microseconds, valid_to_microseconds) WITH &&
    ) DEFERRABLE INITIALLY DEFERRED
);
