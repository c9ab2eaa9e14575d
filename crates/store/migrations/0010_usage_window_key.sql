-- Bills and explanations look windows up by account, meter and resource within a stretch of time.
CREATE INDEX IF NOT EXISTS usage_window_by_meter ON metering.usage_window (tenant, meter, resource_uid, window_start_microseconds);
