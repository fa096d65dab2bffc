-- What was asked of a payment and how it was answered is in muster_once now. The two columns stay, unwritten, as long as a
-- process of before may run beside this one.
ALTER TABLE shop_payment
  MODIFY idempotency_key VARBINARY(255) NULL,
  MODIFY request_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;

INSERT IGNORE INTO muster_once (scope, once_key, body_hash, answer, made_at)
SELECT CONCAT('order:', user), idempotency_key, UNHEX(SHA2(request_hash, 256)),
  CONCAT('{"ok":true,"paymentId":"', payment_id, '"}'), paid_at
FROM shop_payment WHERE idempotency_key IS NOT NULL;
