-- Retention asks for old requests. One entry a row and at the right end; status is not in it, because that changes twice.
CREATE INDEX coupon_request_requested_at ON coupon_request (requested_at) ALGORITHM = INPLACE LOCK = NONE;
