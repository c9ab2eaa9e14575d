-- When all that is declared was last known to be there: what is missed later ended then.
CREATE TABLE IF NOT EXISTS registry.watch (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    seen_at_microseconds bigint NOT NULL
);
