-- Until when a subscription holds, if it ends before another begins.
ALTER TABLE registry.subscription ADD COLUMN IF NOT EXISTS to_microseconds bigint;
