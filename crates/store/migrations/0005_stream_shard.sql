-- How far each shard has been folded, and by whom. The pair (owner_epoch, next_seq) is the fence of every commit.
CREATE TABLE IF NOT EXISTS stream.shard (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
    owner_epoch bigint NOT NULL DEFAULT 0 CHECK (owner_epoch >= 0),
    next_seq bigint NOT NULL DEFAULT 0 CHECK (next_seq >= 0),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0)
);
