-- The next number of each series of a legal entity. Taken last in the issuing transaction, so numbers have no gaps.
CREATE TABLE IF NOT EXISTS billing.number_series (
    entity text NOT NULL,
    series text NOT NULL,
    next_number bigint NOT NULL DEFAULT 1 CHECK (next_number > 0),
    PRIMARY KEY (entity, series)
);
