-- Photos of complaints. The row is there before the file that it names, and goes after it. Works on MySQL 8.4 and MariaDB 10.11; each
-- statement may run again.
CREATE TABLE IF NOT EXISTS delivery_photo (
  -- Made of the order and what was sent, so that the same sent again is the same.
  photo_id   BINARY(16) NOT NULL PRIMARY KEY,
  order_id   BINARY(16) NOT NULL,
  made_at    DATETIME(3) NOT NULL,
  -- NULL: its file is not there yet.
  stored_at  DATETIME(3) NULL,
  KEY delivery_photo_order (order_id),
  KEY delivery_photo_age (made_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
