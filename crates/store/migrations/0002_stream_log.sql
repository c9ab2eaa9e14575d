-- The usage log: what arrived, in the order in which it counts. Leads with the shard, so that it can be spread.
CREATE TABLE IF NOT EXISTS stream.log (
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    seq bigint NOT NULL CHECK (seq >= 0),
    payload bytea NOT NULL,
    PRIMARY KEY (shard, seq)
);
