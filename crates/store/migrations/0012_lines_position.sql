-- Up to which number of the log, and through which epoch, windows and lines have been written: under load they are
-- written every few epochs, from the state, which is written with every one.
ALTER TABLE stream.shard
    ADD COLUMN IF NOT EXISTS lines_next_seq bigint NOT NULL DEFAULT 0 CHECK (lines_next_seq >= 0),
    ADD COLUMN IF NOT EXISTS lines_epoch bigint NOT NULL DEFAULT 0 CHECK (lines_epoch >= 0);
