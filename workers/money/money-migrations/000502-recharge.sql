-- Recharges: money of a member on its way from their bank account into the ledger. A row is a saga: it says what is to be done next
-- and when. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again. All times are the database's own clock (UTC).
CREATE TABLE IF NOT EXISTS recharge (
  recharge_id     BINARY(16) NOT NULL PRIMARY KEY,
  -- The pseudonym of the member.
  account_id      VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- As it is registered at banking.
  bank_account_id BINARY(16) NOT NULL,
  amount_minor    BIGINT NOT NULL,
  currency        CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state           ENUM('REQUESTED', 'ASKING', 'AT_BANK', 'DONE', 'FAILED') CHARACTER SET ascii NOT NULL,
  -- Why it failed, or what it waits for: a word for programs.
  reason          VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  firmbanking_id  BINARY(16) NULL,
  -- That booked it.
  transfer_id     BINARY(16) NULL,
  tries           INT UNSIGNED NOT NULL,
  -- Grows with each claim: an answer to an older one is known by it.
  claim           INT UNSIGNED NOT NULL,
  -- When it is worked on next. NULL: it has ended.
  due_at          DATETIME(3) NULL,
  requested_at    DATETIME(3) NOT NULL,
  -- From when on its limit counts: from its acceptance, or from when it no longer waited for a bank that was down.
  counts_from     DATETIME(3) NOT NULL,
  decided_at      DATETIME(3) NULL,
  -- When a client of the member acknowledged how it ended.
  notified_at     DATETIME(3) NULL,
  -- W3C context of the request.
  traceparent     VARCHAR(55) CHARACTER SET ascii NULL,
  -- What the bank did is booked for one recharge.
  UNIQUE KEY recharge_firmbanking (firmbanking_id),
  KEY recharge_due (due_at),
  KEY recharge_account (account_id, recharge_id),
  -- Whether something is under way for an account; for retention.
  KEY recharge_account_state (account_id, state),
  KEY recharge_state (state, decided_at),
  CONSTRAINT recharge_amount CHECK (amount_minor > 0),
  CONSTRAINT recharge_ended CHECK ((due_at IS NULL) = (state IN ('DONE', 'FAILED'))),
  CONSTRAINT recharge_booked CHECK ((transfer_id IS NOT NULL) = (state = 'DONE'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
