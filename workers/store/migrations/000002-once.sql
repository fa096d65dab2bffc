-- What is done once, and how it was answered (workers/store/once.ts). Takes the place of muster_inbox, which nothing used.
CREATE TABLE IF NOT EXISTS muster_once (
  -- The capability, a colon, and who asks.
  scope     VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Bytes: no collation makes two keys equal.
  once_key  VARBINARY(255) NOT NULL,
  -- SHA-256 of what was asked: the same key with another body is refused.
  body_hash BINARY(32) NOT NULL,
  -- JSON. NULL only within the transaction that makes it.
  answer    MEDIUMBLOB NULL,
  made_at   DATETIME(3) NOT NULL,
  PRIMARY KEY (scope, once_key),
  -- For retention; grows at its right end only.
  KEY muster_once_made_at (made_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

DROP TABLE IF EXISTS muster_inbox;
