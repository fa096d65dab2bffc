-- Remittances: a row is a saga, it says what is to be done next and when. Nothing in it names a person: members are pseudonyms, bank
-- accounts ids of banking. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again. All times are the database's own clock (UTC).
CREATE TABLE IF NOT EXISTS remittance (
  remittance_id  BINARY(16) NOT NULL PRIMARY KEY,
  sender         VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- A member, or a bank account.
  receiver       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NULL,
  to_account_id  BINARY(16) NULL,
  amount_minor   BIGINT NOT NULL,
  fee_minor      BIGINT NOT NULL,
  currency       CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- The sender's bank account that short money is taken from.
  recharge_from  BINARY(16) NULL,
  -- The call that is to be made next, or how it ended.
  state          ENUM('TRANSFER', 'HOLD', 'HOLD_FEE', 'RECHARGE', 'RECHARGING', 'PAYOUT', 'PAYING_OUT', 'POST', 'POST_FEE',
    'RELEASE', 'RELEASE_FEE', 'DONE', 'FAILED') CHARACTER SET ascii NOT NULL,
  -- Why it fails or has failed, and what it waits for: words for programs.
  failure        VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  waits_for      VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  attempt        INT UNSIGNED NOT NULL,
  recharge_minor BIGINT NULL,
  recharge_id    BINARY(16) NULL,
  firmbanking_id BINARY(16) NULL,
  hold_id        BINARY(16) NULL,
  fee_hold_id    BINARY(16) NULL,
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
  -- When a client of the sender acknowledged how it ended.
  notified_at    DATETIME(3) NULL,
  -- W3C context of the request.
  traceparent    VARCHAR(55) CHARACTER SET ascii NULL,
  UNIQUE KEY remittance_recharge (recharge_id),
  UNIQUE KEY remittance_firmbanking (firmbanking_id),
  KEY remittance_due (due_at),
  KEY remittance_sender (sender, remittance_id),
  -- Open ones; and for retention.
  KEY remittance_state (state, decided_at),
  CONSTRAINT remittance_amounts CHECK (amount_minor > 0 AND fee_minor >= 0),
  CONSTRAINT remittance_to CHECK ((receiver IS NULL) <> (to_account_id IS NULL)),
  CONSTRAINT remittance_ended CHECK ((due_at IS NULL) = (state IN ('DONE', 'FAILED'))),
  CONSTRAINT remittance_failed CHECK (state <> 'FAILED' OR failure IS NOT NULL),
  CONSTRAINT remittance_done CHECK (state <> 'DONE' OR (transfer_id IS NOT NULL AND failure IS NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
