-- Settlement: what merchants were paid (slips), in periods, a line a merchant. Nothing in it names a person: merchants are pseudonyms, bank
-- accounts ids of banking. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again. All times are the database's own clock (UTC).

-- One row: the period that is open. Who adds slips shares its lock, who closes a period or changes a rate has it alone: so a closed
-- period gets no slip any more, and a slip has the rate of its moment.
CREATE TABLE IF NOT EXISTS settlement_clock (
  id      TINYINT UNSIGNED NOT NULL PRIMARY KEY,
  open_no INT UNSIGNED NOT NULL,
  -- When the schedule ends it: slips of then and later go into the next one. NULL: nobody has settled yet.
  ends_at DATETIME(3) NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO settlement_clock (id, open_no, ends_at) VALUES (1, 1, NULL)
ON DUPLICATE KEY UPDATE id = settlement_clock.id;

CREATE TABLE IF NOT EXISTS settlement_slip (
  event_id          BINARY(16) NOT NULL PRIMARY KEY,
  payment_id        BINARY(16) NOT NULL,
  merchant          VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind              ENUM('PAID', 'REFUNDED') CHARACTER SET ascii NOT NULL,
  amount_minor      BIGINT NOT NULL,
  currency          CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- When it was booked.
  at                DATETIME(3) NOT NULL,
  -- Set when it comes, for good: the period that it is settled in, and its rate.
  period_no         INT UNSIGNED NOT NULL,
  rate_basis_points SMALLINT UNSIGNED NOT NULL,
  -- A period's sums are read from it alone, a merchant after the other.
  KEY settlement_slip_sums (period_no, merchant, currency, rate_basis_points, kind, amount_minor),
  -- A refund has the rate of its payment.
  KEY settlement_slip_payment (payment_id),
  -- For retention.
  KEY settlement_slip_at (at),
  CONSTRAINT settlement_slip_amount CHECK (amount_minor > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS settlement_merchant (
  merchant VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  state    ENUM('ACTIVE', 'SUSPENDED', 'CLOSED') CHARACTER SET ascii NOT NULL,
  version  INT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A rate is in force from its moment on, until the next. '*': of merchants without one.
CREATE TABLE IF NOT EXISTS settlement_commission (
  merchant          VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  from_at           DATETIME(3) NOT NULL,
  rate_basis_points SMALLINT UNSIGNED NOT NULL,
  set_by            VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  set_at            DATETIME(3) NOT NULL,
  PRIMARY KEY (merchant, from_at),
  CONSTRAINT settlement_commission_rate CHECK (rate_basis_points <= 10000)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A period that was closed with slips in it.
CREATE TABLE IF NOT EXISTS settlement_run (
  run_no     INT UNSIGNED NOT NULL PRIMARY KEY,
  started_by VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  started_at DATETIME(3) NOT NULL,
  -- Merchants up to this one have their lines.
  summed_to  VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- When its next merchants are summed. NULL: all are.
  due_at     DATETIME(3) NULL,
  summed_at  DATETIME(3) NULL,
  KEY settlement_run_due (due_at),
  CONSTRAINT settlement_run_summed CHECK ((due_at IS NULL) = (summed_at IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What a merchant gets for a period: a saga, it says what is to be done next and when.
CREATE TABLE IF NOT EXISTS settlement_line (
  line_id                  BINARY(16) NOT NULL PRIMARY KEY,
  run_no                   INT UNSIGNED NOT NULL,
  merchant                 VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  currency                 CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  paid_minor               BIGINT NOT NULL,
  refunded_minor           BIGINT NOT NULL,
  -- Below zero: more of it is given back than taken.
  commission_minor         BIGINT NOT NULL,
  -- From lines before whose refunds were more than their payments.
  carried_minor            BIGINT NOT NULL,
  carried_commission_minor BIGINT NOT NULL,
  net_minor                BIGINT NOT NULL,
  -- The call that is to be made next, or how it ended.
  state                    ENUM('ACCOUNT', 'PAYOUT', 'PAYING_OUT', 'BOOK', 'BOOK_COMMISSION', 'STOPPED', 'CARRIED', 'DONE')
    CHARACTER SET ascii NOT NULL,
  -- Why it stopped, and what it waits for: words for programs.
  failure                  VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  waits_for                VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  attempt                  INT UNSIGNED NOT NULL,
  account_id               BINARY(16) NULL,
  firmbanking_id           BINARY(16) NULL,
  transfer_id              BINARY(16) NULL,
  commission_transfer_id   BINARY(16) NULL,
  -- Of a CARRIED one: the line that took it on.
  carried_into             BINARY(16) NULL,
  tries                    INT UNSIGNED NOT NULL,
  -- Grows with each claim and each change: an answer to an older one, or one that comes twice, is known by it.
  claim                    INT UNSIGNED NOT NULL,
  -- When it is worked on next. NULL: it has ended, or waits for people.
  due_at                   DATETIME(3) NULL,
  made_at                  DATETIME(3) NOT NULL,
  -- From when on its limit counts: from when it was made, or from when it no longer waited.
  counts_from              DATETIME(3) NOT NULL,
  ended_at                 DATETIME(3) NULL,
  UNIQUE KEY settlement_line_once (run_no, merchant, currency),
  UNIQUE KEY settlement_line_firmbanking (firmbanking_id),
  KEY settlement_line_due (due_at),
  KEY settlement_line_merchant (merchant, line_id),
  -- Open and stopped ones; and for retention.
  KEY settlement_line_state (state, ended_at),
  -- What is to be carried on.
  KEY settlement_line_left (state, carried_into, merchant),
  CONSTRAINT settlement_line_net CHECK (
    net_minor = paid_minor - refunded_minor + carried_minor - commission_minor - carried_commission_minor),
  CONSTRAINT settlement_line_carried CHECK ((state = 'CARRIED') = (net_minor < 0)),
  CONSTRAINT settlement_line_rests CHECK ((due_at IS NULL) = (state IN ('STOPPED', 'CARRIED', 'DONE'))),
  CONSTRAINT settlement_line_stopped CHECK ((state = 'STOPPED') = (failure IS NOT NULL)),
  CONSTRAINT settlement_line_done CHECK (state <> 'DONE' OR net_minor = 0 OR (firmbanking_id IS NOT NULL AND transfer_id IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
