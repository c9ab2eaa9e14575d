CREATE INDEX IF NOT EXISTS gap_by_tenant ON metering.gap (tenant, from_microseconds);
