-- Undecided requests are asked for every few seconds, old decided ones by retention: one index for both. A request moves in it
-- when it is decided and when it is acknowledged.
ALTER TABLE coupon_request ADD INDEX coupon_request_status (status, requested_at),
  DROP INDEX coupon_request_requested_at, ALGORITHM = INPLACE, LOCK = NONE;
