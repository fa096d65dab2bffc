-- Products, orders and payments. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again.

-- Stock is unsigned and the server is strict: whatever a program does, it never goes below zero.
CREATE TABLE IF NOT EXISTS shop_product (
  product_id   VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  name         VARCHAR(200) NOT NULL,
  amount_minor BIGINT UNSIGNED NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  stock        INT UNSIGNED NOT NULL,
  -- Grows by one with each event on product-events.
  version      INT UNSIGNED NOT NULL,
  created_at   DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- `user` is the customer's pseudonym. The lines are a snapshot that is only ever read whole, hence JSON in the row:
-- an order is one row to insert and one to lock.
CREATE TABLE IF NOT EXISTS shop_order (
  order_id          VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  user              VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  status            VARCHAR(9) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  order_lines       TEXT NOT NULL,
  amount_minor      BIGINT UNSIGNED NOT NULL,
  currency          CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  failed_product_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
  created_at        DATETIME(3) NOT NULL,
  settled_at        DATETIME(3) NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- One payment an order, one payment a customer and key. No more of a card than its last four digits.
CREATE TABLE IF NOT EXISTS shop_payment (
  payment_id      VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  order_id        VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user            VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  idempotency_key VARBINARY(255) NOT NULL,
  request_hash    CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount_minor    BIGINT UNSIGNED NOT NULL,
  currency        CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  method          VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  card_last4      CHAR(4) CHARACTER SET ascii COLLATE ascii_bin NULL,
  paid_at         DATETIME(3) NOT NULL,
  UNIQUE KEY shop_payment_order (order_id),
  UNIQUE KEY shop_payment_key (user, idempotency_key)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
