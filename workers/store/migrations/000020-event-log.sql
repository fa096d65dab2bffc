-- The event log (workers/store/event-log.ts): a row per event that others are told about, from its publishing on. All times
-- are the database's own clock (UTC), but published_at, which the event says.
CREATE TABLE IF NOT EXISTS muster_event (
  event_id     VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  type         VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- What it is about: the id of an order, of a coupon.
  subject      VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- JSON, as it is in the record; and its SHA-256: the same id with another body is refused.
  body         MEDIUMBLOB NOT NULL,
  body_hash    BINARY(32) NOT NULL,
  state        ENUM('PUBLISHED', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER') CHARACTER SET ascii NOT NULL,
  -- How many attempts began.
  attempts     INT UNSIGNED NOT NULL DEFAULT 0,
  -- An attempt got no answer: the receiver may have done the work.
  in_doubt     BOOLEAN NOT NULL DEFAULT FALSE,
  -- Of the last attempt that ended, in the words of who made it.
  outcome      VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
  status       SMALLINT UNSIGNED NULL,
  -- 32 hexadecimal digits, of the trace in which the last attempt ran.
  trace_id     CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
  published_at    DATETIME(3) NOT NULL,
  -- NULL: nobody has read it from its topic yet.
  first_seen_at   DATETIME(3) NULL,
  attempted_at    DATETIME(3) NULL,
  next_attempt_at DATETIME(3) NULL,
  -- When it got into state COMPLETED or DEAD_LETTER.
  ended_at        DATETIME(3) NULL,
  KEY muster_event_subject (subject),
  -- For retention, too.
  KEY muster_event_state (state, published_at),
  -- The newest, as a page asks for every few seconds.
  KEY muster_event_published_at (published_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- Attempts that did not succeed; the one that did is in muster_event.
CREATE TABLE IF NOT EXISTS muster_event_failure (
  event_id   VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  attempt    INT UNSIGNED NOT NULL,
  started_at DATETIME(3) NOT NULL,
  -- NULL: nobody lived to see its end.
  ended_at   DATETIME(3) NULL,
  outcome    VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  status     SMALLINT UNSIGNED NULL,
  PRIMARY KEY (event_id, attempt),
  -- For retention.
  KEY muster_event_failure_started_at (started_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
