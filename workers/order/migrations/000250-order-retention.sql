-- Retention asks for old orders that nobody paid, which lie among many more that were paid, and for old payments.
CREATE INDEX shop_order_status ON shop_order (status, created_at) ALGORITHM = INPLACE LOCK = NONE;
CREATE INDEX shop_payment_paid_at ON shop_payment (paid_at) ALGORITHM = INPLACE LOCK = NONE;
