-- Food delivery: shops with a menu, riders, orders, and each change of an order. People are pseudonyms, an address is its district; only what
-- customer and owner write to each other may name somebody (complaint, rejection). Works on MySQL 8.4 and MariaDB 10.11; each statement may
-- run again. All times are the database's own clock (UTC).
CREATE TABLE IF NOT EXISTS delivery_shop (
  shop_id  BINARY(16) NOT NULL PRIMARY KEY,
  owner    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name     VARCHAR(100) NOT NULL,
  KEY delivery_shop_owner (owner)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS delivery_item (
  item_id      BINARY(16) NOT NULL PRIMARY KEY,
  shop_id      BINARY(16) NOT NULL,
  name         VARCHAR(100) NOT NULL,
  price_minor  BIGINT NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- What can still be ordered.
  stock        BIGINT NOT NULL,
  KEY delivery_item_shop (shop_id),
  CONSTRAINT delivery_item_price CHECK (price_minor > 0),
  CONSTRAINT delivery_item_stock CHECK (stock >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A rider is in exactly one place: free, off, or with one order.
CREATE TABLE IF NOT EXISTS delivery_rider (
  rider       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  district    VARCHAR(100) NOT NULL,
  state       ENUM('FREE', 'BUSY', 'OFF') CHARACTER SET ascii NOT NULL,
  order_id    BINARY(16) NULL,
  -- Who has waited longest is next.
  changed_at  DATETIME(3) NOT NULL,
  UNIQUE KEY delivery_rider_order (order_id),
  KEY delivery_rider_next (district, state, changed_at),
  CONSTRAINT delivery_rider_busy CHECK ((state = 'BUSY') = (order_id IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS delivery_order (
  order_id        BINARY(16) NOT NULL PRIMARY KEY,
  customer        VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Of the shop, as it was when the order was placed.
  owner           VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  rider           VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
  shop_id         BINARY(16) NOT NULL,
  item_id         BINARY(16) NOT NULL,
  quantity        INT UNSIGNED NOT NULL,
  paid_minor      BIGINT NOT NULL,
  refunded_minor  BIGINT NOT NULL,
  currency        CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  district        VARCHAR(100) NOT NULL,
  state           ENUM('PLACED', 'ACCEPTED', 'COOKING', 'CALLED', 'ASSIGNED', 'DELIVERING', 'DELIVERED', 'DELIVERY_FAILED', 'CANCELLED',
    'REFUND_REQUESTED', 'REFUND_APPROVED', 'REFUND_REJECTED', 'REDELIVERY') CHARACTER SET ascii NOT NULL,
  -- One more with each step: a step is taken from the version that it was decided on.
  version         INT UNSIGNED NOT NULL,
  assigned_at     DATETIME(3) NULL,
  delivered_at    DATETIME(3) NULL,
  -- When the clock takes its next step. NULL: it has none.
  due_at          DATETIME(3) NULL,
  wanted          ENUM('REFUND', 'REDELIVERY') CHARACTER SET ascii NULL,
  complaint       VARCHAR(500) NULL,
  rejection       VARCHAR(500) NULL,
  changed_at      DATETIME(3) NOT NULL,
  KEY delivery_order_due (due_at),
  KEY delivery_order_customer (customer, order_id),
  KEY delivery_order_owner (owner, order_id),
  -- Open ones; and for retention.
  KEY delivery_order_state (state, changed_at),
  CONSTRAINT delivery_order_quantity CHECK (quantity > 0 AND paid_minor > 0),
  -- Money goes back whole, when the order is called off, and never otherwise.
  CONSTRAINT delivery_order_money CHECK (
    refunded_minor = CASE WHEN state IN ('CANCELLED', 'REFUND_APPROVED') THEN paid_minor ELSE 0 END),
  CONSTRAINT delivery_order_timer CHECK ((due_at IS NOT NULL) = (state IN ('CALLED', 'ASSIGNED', 'DELIVERING'))),
  CONSTRAINT delivery_order_rider CHECK (state NOT IN ('ASSIGNED', 'DELIVERING') OR rider IS NOT NULL)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every change of an order, its placing the first. A version is there once, so of two that would make the same one only one can.
CREATE TABLE IF NOT EXISTS delivery_change (
  order_id    BINARY(16) NOT NULL,
  version     INT UNSIGNED NOT NULL,
  step        VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state       VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  changed_at  DATETIME(3) NOT NULL,
  PRIMARY KEY (order_id, version),
  KEY delivery_change_age (changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
