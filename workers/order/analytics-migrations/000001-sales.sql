-- The data platform's own database: what was sold, to whom (a pseudonym), and what the products are.
-- Works on MySQL 8.4 and MariaDB 10.11; each statement may run again.

CREATE TABLE IF NOT EXISTS sale (
  order_id     VARCHAR(200) NOT NULL PRIMARY KEY,
  user         VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  completed_at DATETIME(3) NOT NULL,
  amount_minor BIGINT UNSIGNED NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  KEY sale_completed_at (completed_at),
  KEY sale_user (user, completed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- User, time and currency again: the questions about products are answered from this table alone.
CREATE TABLE IF NOT EXISTS sale_item (
  order_id     VARCHAR(200) NOT NULL,
  product_id   VARCHAR(200) NOT NULL,
  quantity     INT UNSIGNED NOT NULL,
  -- Null when the order's event did not say the price of one.
  amount_minor BIGINT UNSIGNED NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user         VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  completed_at DATETIME(3) NOT NULL,
  PRIMARY KEY (order_id, product_id),
  KEY sale_item_product (product_id, completed_at),
  KEY sale_item_completed_at (completed_at),
  KEY sale_item_user (user, product_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS product (
  product_id   VARCHAR(200) NOT NULL PRIMARY KEY,
  version      INT UNSIGNED NOT NULL,
  name         VARCHAR(200) NOT NULL,
  amount_minor BIGINT UNSIGNED NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stock        INT UNSIGNED NOT NULL,
  -- When a sale last took the last one; null: never.
  depleted_at  DATETIME(3) NULL,
  changed_at   DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
