-- What an invoice charges: of each bill line what earlier invoices have not charged yet.
CREATE TABLE IF NOT EXISTS billing.invoice_line (
    tenant uuid NOT NULL,
    invoice uuid NOT NULL,
    n integer NOT NULL CHECK (n >= 0),
    line_key text NOT NULL,
    description text NOT NULL,
    project text NOT NULL,
    object text NOT NULL,
    part text NOT NULL,
    quantity numeric(39, 0) NOT NULL,
    display_quantity text NOT NULL,
    display_unit text NOT NULL,
    amount_minor bigint NOT NULL,
    line_quantity numeric(39, 0) NOT NULL,
    line_amount_minor bigint NOT NULL,
    flags text[] NOT NULL,
    explanation jsonb NOT NULL,
    PRIMARY KEY (tenant, invoice, n),
    FOREIGN KEY (tenant, invoice) REFERENCES billing.invoice (tenant, id) DEFERRABLE INITIALLY DEFERRED
);
