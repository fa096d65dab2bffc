-- Coupons. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again after a crash half-way.
-- All times are the database's own clock (UTC): no other clock decides anything here.

CREATE TABLE IF NOT EXISTS coupon (
  -- UUIDv7 text: sorts by time.
  coupon_id   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  name        VARCHAR(200) NOT NULL,
  stock       INT UNSIGNED NOT NULL,
  issued      INT UNSIGNED NOT NULL DEFAULT 0,
  -- From valid_from on, until before valid_until; NULL: no bound.
  valid_from  DATETIME(3) NULL,
  valid_until DATETIME(3) NULL,
  created_at  DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- The event log: a row per accepted request, PENDING -> COMPLETED | FAILED -> NOTIFIED. It is the inbox of its consumer, too:
-- a row leaves PENDING once, in the transaction of the effect.
CREATE TABLE IF NOT EXISTS coupon_request (
  -- UUIDv7: new rows go to the right end.
  request_id   BINARY(16) NOT NULL PRIMARY KEY,
  coupon_id    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Bytes: no collation makes two users equal.
  user_id      VARBINARY(512) NOT NULL,
  status       ENUM('PENDING', 'COMPLETED', 'FAILED', 'NOTIFIED') CHARACTER SET ascii NOT NULL DEFAULT 'PENDING',
  -- NULL after the decision: SUCCESS.
  reason       ENUM('OUT_OF_STOCK', 'DUPLICATE', 'EXPIRED', 'NOT_FOUND') CHARACTER SET ascii NULL,
  requested_at DATETIME(3) NOT NULL,
  decided_at   DATETIME(3) NULL,
  notified_at  DATETIME(3) NULL,
  -- W3C context of the request, so that a push that comes late belongs to its trace.
  traceparent  VARBINARY(55) NULL,
  KEY coupon_request_user (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- A row per coupon handed out.
CREATE TABLE IF NOT EXISTS coupon_history (
  coupon_history_id BINARY(16) NOT NULL PRIMARY KEY,
  coupon_id  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id    VARBINARY(512) NOT NULL,
  request_id BINARY(16) NOT NULL,
  issued_at  DATETIME(3) NOT NULL,
  UNIQUE KEY coupon_history_user (coupon_id, user_id),
  UNIQUE KEY coupon_history_request (request_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- Requests that are durable and perhaps not yet on their topic: a row per group commit, gone when Kafka has acked it.
CREATE TABLE IF NOT EXISTS coupon_unpublished (
  batch_id   BINARY(16) NOT NULL PRIMARY KEY,
  -- JSON array of [request id, user id, coupon id, traceparent or null].
  requests   MEDIUMBLOB NOT NULL,
  created_at DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
