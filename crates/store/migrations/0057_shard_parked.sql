-- Why a shard is not being folded at present, for people; nothing decides by it.
ALTER TABLE stream.shard ADD COLUMN IF NOT EXISTS parked_because text;
