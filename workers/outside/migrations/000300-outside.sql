-- The event log of the webhooks to systems outside. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again
-- after a crash half-way. All times are the database's own clock (UTC), but published_at, which the event says.

CREATE TABLE IF NOT EXISTS outside_event (
  -- The event's id: the webhook's Idempotency-Key.
  event_id     VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  -- SHA-256 of the body: the same id with another body is refused.
  body_hash    BINARY(32) NOT NULL,
  order_id     VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  payment_id   VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  amount_minor BIGINT UNSIGNED NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state        ENUM('PUBLISHED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER') CHARACTER SET ascii NOT NULL,
  -- How many attempts began.
  attempts     INT UNSIGNED NOT NULL DEFAULT 0,
  -- An attempt got no answer: the receiver may have done the work.
  in_doubt     BOOLEAN NOT NULL DEFAULT FALSE,
  -- Of the last attempt that ended: 2xx, 3xx, 4xx, 5xx, timeout, network.
  outcome      VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
  status       SMALLINT UNSIGNED NULL,
  -- 32 hexadecimal digits, of the trace in which the last attempt ran.
  trace_id     CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
  published_at    DATETIME(3) NOT NULL,
  first_seen_at   DATETIME(3) NOT NULL,
  attempted_at    DATETIME(3) NULL,
  next_attempt_at DATETIME(3) NULL,
  -- When it got into state COMPLETED or DEAD_LETTER.
  ended_at        DATETIME(3) NULL,
  KEY outside_event_order (order_id),
  KEY outside_event_state (state, first_seen_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- Attempts that did not succeed; the one that did is in outside_event.
CREATE TABLE IF NOT EXISTS outside_failed_attempt (
  event_id   VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  attempt    INT UNSIGNED NOT NULL,
  started_at DATETIME(3) NOT NULL,
  -- NULL: nobody lived to see its end.
  ended_at   DATETIME(3) NULL,
  outcome    VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  status     SMALLINT UNSIGNED NULL,
  PRIMARY KEY (event_id, attempt)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
