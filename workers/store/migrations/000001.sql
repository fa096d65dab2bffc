-- The platform's own tables. Works on MySQL 8.4 and MariaDB 10.11. Each statement may run again after a crash
-- half-way (DDL commits by itself), hence IF NOT EXISTS and INSERT IGNORE.

-- Message ids whose effects are done, per consumer. Ids are bytes: no collation makes two of them equal.
CREATE TABLE IF NOT EXISTS muster_inbox (
  consumer   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  message_id VARBINARY(255) NOT NULL,
  body_hash  BINARY(32) NOT NULL,
  handled_at DATETIME(3) NOT NULL,
  PRIMARY KEY (consumer, message_id),
  -- For cleaning; grows at its right end only.
  KEY muster_inbox_handled_at (handled_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- Records to publish. Rows leave when they are sent, so the table stays as small as the backlog.
-- The primary key begins with the shard (a hash of topic and key): a relay reads each shard in order by its own range.
CREATE TABLE IF NOT EXISTS muster_outbox (
  shard      TINYINT UNSIGNED NOT NULL,
  id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  topic      VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  record_key VARBINARY(1024) NULL,
  value      MEDIUMBLOB NULL,
  -- JSON object: header name to text, or to {"base64": "..."}.
  headers    BLOB NOT NULL,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (shard, id),
  KEY muster_outbox_id (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- A relay that works on a shard holds the lock of its row here until it has sent and deleted what it read.
CREATE TABLE IF NOT EXISTS muster_outbox_shard (
  shard TINYINT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

INSERT IGNORE INTO muster_outbox_shard (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7);
