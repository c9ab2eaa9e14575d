-- When the tenant behind an account went; nothing while it is there.
ALTER TABLE registry.account ADD COLUMN IF NOT EXISTS gone_at_microseconds bigint;
