INSERT INTO stream.log_head (shard) SELECT number::smallint FROM generate_series(0, 63) AS number ON CONFLICT DO NOTHING;
