-- What 000201 left for a process of before: for two versions nothing has read or written the two columns.
ALTER TABLE shop_payment
  DROP INDEX shop_payment_key,
  DROP COLUMN idempotency_key,
  DROP COLUMN request_hash;
