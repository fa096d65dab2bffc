-- Who was told what of an order: one a change, role and person. Works on MySQL 8.4 and MariaDB 10.11; the statement may run again.
CREATE TABLE IF NOT EXISTS delivery_notification (
  -- In the order in which they are to be shown.
  no        BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  order_id  BINARY(16) NOT NULL,
  version   INT UNSIGNED NOT NULL,
  role      ENUM('customer', 'owner', 'rider') CHARACTER SET ascii NOT NULL,
  person    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state     VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Of the change.
  changed_at  DATETIME(3) NOT NULL,
  made_at   DATETIME(3) NOT NULL,
  -- NULL: not shown yet.
  shown_at  DATETIME(3) NULL,
  UNIQUE KEY delivery_notification_once (order_id, version, role),
  KEY delivery_notification_person (person, role, shown_at, no),
  KEY delivery_notification_age (made_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
