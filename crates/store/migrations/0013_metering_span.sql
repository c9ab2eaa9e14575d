-- What was held and when. One amount of one SKU of one resource at a time.
CREATE TABLE IF NOT EXISTS metering.span (
    tenant uuid NOT NULL,
    resource_uid uuid NOT NULL,
    sku text NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    quantity_millionths numeric(39, 0) NOT NULL CHECK (quantity_millionths > 0),
    from_microseconds bigint NOT NULL,
    to_microseconds bigint CHECK (to_microseconds >= from_microseconds),
    PRIMARY KEY (tenant, resource_uid, sku, number),
    CONSTRAINT span_once EXCLUDE USING gist (
        tenant WITH =, resource_uid WITH =, sku WITH =, int8range(from_microseconds, to_microseconds) WITH &&
    ) DEFERRABLE INITIALLY DEFERRED
);
