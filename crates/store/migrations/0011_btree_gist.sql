-- Exclusion constraints compare keys for equality beside ranges for overlap.
CREATE EXTENSION IF NOT EXISTS btree_gist;
