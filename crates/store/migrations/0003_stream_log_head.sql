-- The next number of each shard. Taking the row is taking the turn: sequence order is commit order.
CREATE TABLE IF NOT EXISTS stream.log_head (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
    next_seq bigint NOT NULL DEFAULT 0 CHECK (next_seq >= 0),
    trimmed_below bigint NOT NULL DEFAULT 0 CHECK (trimmed_below BETWEEN 0 AND next_seq)
);
