INSERT INTO stream.shard (shard) SELECT number::smallint FROM generate_series(0, 63) AS number ON CONFLICT DO NOTHING;
