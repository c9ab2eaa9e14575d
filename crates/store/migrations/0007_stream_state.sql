-- What the fold remembers: a delta per epoch, replaced by one row now and then.
CREATE TABLE IF NOT EXISTS stream.state (
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    epoch bigint NOT NULL CHECK (epoch > 0),
    delta bytea NOT NULL,
    PRIMARY KEY (shard, epoch)
);
