-- Rows of the outbox that a relay takes when their time has come, in no order: timers, and what the process that committed
-- it publishes from memory. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again after a crash half-way.
-- All times are the database's own clock (UTC).
CREATE TABLE IF NOT EXISTS muster_outbox_due (
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  -- When a timer fires; NULL: no timer.
  due_at     DATETIME(3) NULL,
  -- From then on a relay may take the row. Whoever takes it moves this on by longer than its send may last.
  take_at    DATETIME(3) NOT NULL,
  -- JSON array of [topic, key, value, headers]; bytes that are no text are {"base64": "..."}.
  records    MEDIUMBLOB NOT NULL,
  created_at DATETIME(3) NOT NULL,
  KEY muster_outbox_due_take_at (take_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
