-- The books' accounts and the tenants they belong to; they outlive the tenants' objects.
CREATE TABLE IF NOT EXISTS registry.account (
    tenant uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    seen_at_microseconds bigint NOT NULL
);
