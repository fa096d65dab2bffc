-- The event log is the platform's now (muster_event). What has ended moves there; what is under way comes again by its
-- topic. The two tables of before stay, unwritten, as long as a process of before may run beside this one.
INSERT IGNORE INTO muster_event (event_id, type, subject, body, body_hash, state, attempts, in_doubt, outcome, status,
  trace_id, published_at, first_seen_at, attempted_at, next_attempt_at, ended_at)
SELECT event_id, 'PaymentCompleted', order_id,
  JSON_OBJECT('paymentId', payment_id, 'orderId', order_id,
    'amount', JSON_OBJECT('amountMinor', amount_minor, 'currency', currency),
    'timestamp', CONCAT(REPLACE(LEFT(published_at, 23), ' ', 'T'), 'Z')),
  body_hash, state, attempts, in_doubt, outcome, status, trace_id, published_at, first_seen_at, attempted_at,
  next_attempt_at, ended_at
FROM outside_event WHERE state IN ('COMPLETED', 'DEAD_LETTER');

INSERT IGNORE INTO muster_event_failure (event_id, attempt, started_at, ended_at, outcome, status)
SELECT event_id, attempt, started_at, ended_at, outcome, status
FROM outside_failed_attempt WHERE event_id IN (SELECT event_id FROM muster_event);
