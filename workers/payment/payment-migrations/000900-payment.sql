-- Payments and their refunds: a row is a slip and a saga, it says what is to be done next and when. Nothing in it names a person:
-- members are pseudonyms. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again. All times are the database's own clock (UTC).
CREATE TABLE IF NOT EXISTS slip (
  slip_id        BINARY(16) NOT NULL PRIMARY KEY,
  kind           ENUM('PAYMENT', 'REFUND') CHARACTER SET ascii NOT NULL,
  -- Of a refund: what it takes back. Of a payment: itself.
  payment_id     BINARY(16) NOT NULL,
  customer       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  merchant       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount_minor   BIGINT NOT NULL,
  currency       CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Of a payment: the sum of its refunds that have not failed. Decided under the lock of its row.
  refunded_minor BIGINT NOT NULL,
  -- The customer's bank account that short money is taken from.
  recharge_from  BINARY(16) NULL,
  -- The call that is to be made next, or how it ended.
  state          ENUM('TRANSFER', 'RECHARGE', 'RECHARGING', 'DONE', 'FAILED') CHARACTER SET ascii NOT NULL,
  -- Why it fails or has failed, and what it waits for: words for programs.
  failure        VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  waits_for      VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  attempt        INT UNSIGNED NOT NULL,
  recharge_minor BIGINT NULL,
  recharge_id    BINARY(16) NULL,
  transfer_id    BINARY(16) NULL,
  tries          INT UNSIGNED NOT NULL,
  -- Grows with each claim: an answer to an older one is known by it.
  claim          INT UNSIGNED NOT NULL,
  -- When it is worked on next. NULL: it has ended.
  due_at         DATETIME(3) NULL,
  requested_at   DATETIME(3) NOT NULL,
  -- From when on its limit counts: from its acceptance, or from when it no longer waited for a bank that was down.
  counts_from    DATETIME(3) NOT NULL,
  decided_at     DATETIME(3) NULL,
  -- W3C context of the request.
  traceparent    VARCHAR(55) CHARACTER SET ascii NULL,
  UNIQUE KEY slip_recharge (recharge_id),
  UNIQUE KEY slip_transfer (transfer_id),
  KEY slip_due (due_at),
  KEY slip_payment (payment_id),
  KEY slip_customer (customer, kind, slip_id),
  KEY slip_merchant (merchant, kind, slip_id),
  -- Open ones; for the checks and for retention.
  KEY slip_state (state, decided_at),
  CONSTRAINT slip_amount CHECK (amount_minor > 0),
  CONSTRAINT slip_refunded CHECK (refunded_minor BETWEEN 0 AND IF(kind = 'PAYMENT' AND state = 'DONE', amount_minor, 0)),
  CONSTRAINT slip_kind CHECK ((kind = 'PAYMENT') = (payment_id = slip_id)),
  CONSTRAINT slip_ended CHECK ((due_at IS NULL) = (state IN ('DONE', 'FAILED'))),
  CONSTRAINT slip_failed CHECK (state <> 'FAILED' OR failure IS NOT NULL),
  CONSTRAINT slip_done CHECK (state <> 'DONE' OR (transfer_id IS NOT NULL AND failure IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Merchants as membership tells of them; the highest version counts.
CREATE TABLE IF NOT EXISTS payment_merchant (
  merchant VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  state    ENUM('ACTIVE', 'SUSPENDED', 'CLOSED') CHARACTER SET ascii NOT NULL,
  version  INT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
