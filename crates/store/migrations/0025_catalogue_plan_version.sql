-- Price versions, immutable. The content is the whole version as the rating engine reads it.
CREATE TABLE IF NOT EXISTS catalogue.plan_version (
    plan_uid uuid NOT NULL,
    generation bigint NOT NULL CHECK (generation > 0),
    plan_name text NOT NULL,
    effective_from_microseconds bigint NOT NULL,
    hash text NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
    content jsonb NOT NULL,
    PRIMARY KEY (plan_uid, generation)
);
