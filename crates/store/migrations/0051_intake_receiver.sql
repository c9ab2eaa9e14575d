-- When samples were last received, so that a program that starts knows what it may have missed.
CREATE TABLE IF NOT EXISTS intake.receiver (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    last_received_microseconds bigint NOT NULL
);
