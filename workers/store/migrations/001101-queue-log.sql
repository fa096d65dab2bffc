-- queue_log: what became of each message, as workers/store/queue-log.ts keeps it in muster_once. Works on MySQL 8.4 and
-- MariaDB 10.11. `queue` says whose row it is: produced:<topic> of who produces it, handled:<group>:<topic> of who handles it.
CREATE OR REPLACE SQL SECURITY INVOKER VIEW queue_log AS
SELECT
  scope AS queue,
  once_key AS message_id,
  -- What is produced waits in the outbox until it is on its topic.
  CASE WHEN scope LIKE 'produced:%' AND EXISTS (
    SELECT 1 FROM muster_outbox o
    WHERE o.topic = SUBSTRING(scope, 10) AND INSTR(o.headers, CONCAT('"ce_id":"', once_key, '"')) > 0
  ) THEN 'waiting' ELSE 'done' END AS status,
  CASE WHEN scope LIKE 'produced:%' THEN made_at
    ELSE CAST('1970-01-01' AS DATETIME(3)) + INTERVAL 1000 * JSON_VALUE(CONVERT(answer USING utf8mb4), '$.createdAtMs') MICROSECOND
  END AS created_timestamp,
  CASE WHEN scope LIKE 'handled:%' THEN made_at END AS processed_timestamp,
  JSON_VALUE(CONVERT(answer USING utf8mb4), '$.status') AS processed_status,
  -- In the words of who handled it.
  JSON_VALUE(CONVERT(answer USING utf8mb4), '$.result') AS result
FROM muster_once
WHERE scope LIKE 'produced:%' OR scope LIKE 'handled:%';
