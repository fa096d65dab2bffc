-- A rider's own orders: without it the whole table was looked through for them, up to five years of it.
CREATE INDEX delivery_order_rider ON delivery_order (rider, order_id) ALGORITHM = INPLACE LOCK = NONE;
