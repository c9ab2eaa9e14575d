-- When nobody received samples.
CREATE TABLE IF NOT EXISTS metering.receiver_gap (
    from_microseconds bigint NOT NULL,
    to_microseconds bigint NOT NULL CHECK (to_microseconds > from_microseconds),
    PRIMARY KEY (from_microseconds, to_microseconds)
);
