-- Bank accounts of members, contracts with banks, and firm banking. Works on MySQL 8.4 and MariaDB 10.11; each statement may
-- run again. All times are the database's own clock (UTC).
CREATE TABLE IF NOT EXISTS bank_contract (
  bank           VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  state          ENUM('ACTIVE', 'SUSPENDED') CHARACTER SET ascii NOT NULL,
  expires_at     DATETIME(3) NOT NULL,
  currency       CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Of each executed call.
  fee_minor      BIGINT NOT NULL,
  call_limit_minor BIGINT NOT NULL,
  day_limit_minor  BIGINT NOT NULL,
  version        INT UNSIGNED NOT NULL,
  CONSTRAINT bank_contract_amounts CHECK (fee_minor >= 0 AND call_limit_minor >= 0 AND day_limit_minor >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What of a day's limit is used: by what was accepted on that day and not rejected.
CREATE TABLE IF NOT EXISTS bank_day (
  bank       VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  day        DATE NOT NULL,
  used_minor BIGINT NOT NULL,
  PRIMARY KEY (bank, day),
  CONSTRAINT bank_day_used CHECK (used_minor >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS bank_account (
  account_id     BINARY(16) NOT NULL PRIMARY KEY,
  -- Pseudonym of the member, or `house`: ours.
  owner          VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  bank           VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- In clear, because the bank is asked by it; it leaves this table towards the bank only.
  account_number VARCHAR(34) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  currency       CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state          ENUM('OPEN', 'CLOSED') CHARACTER SET ascii NOT NULL,
  registered_at  DATETIME(3) NOT NULL,
  closed_at      DATETIME(3) NULL,
  -- An account has one owner at a time; whoever closes it frees it.
  open_number    VARCHAR(34) CHARACTER SET ascii COLLATE ascii_bin AS (IF(state = 'OPEN', account_number, NULL)) STORED,
  UNIQUE KEY bank_account_open (bank, open_number),
  KEY bank_account_owner (owner, account_id),
  -- For retention.
  KEY bank_account_closed (state, closed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every change of an account (subject: its id) and of a contract (subject: the bank).
CREATE TABLE IF NOT EXISTS bank_history (
  history_no BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  kind       ENUM('ACCOUNT', 'CONTRACT') CHARACTER SET ascii NOT NULL,
  subject    VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- As it is from then on, JSON; nothing personal.
  became     TEXT NOT NULL,
  -- Role and pseudonym of who did it.
  changed_by VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  changed_at DATETIME(3) NOT NULL,
  KEY bank_history_subject (kind, subject, history_no),
  KEY bank_history_changed_at (changed_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS firmbanking (
  firmbanking_id BINARY(16) NOT NULL PRIMARY KEY,
  -- That carries it out: the one of from_id.
  bank           VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  from_id        BINARY(16) NOT NULL,
  to_id          BINARY(16) NOT NULL,
  from_owner     VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  to_owner       VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount_minor   BIGINT NOT NULL,
  currency       CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state          ENUM('REQUESTED', 'WAITING', 'SENT', 'IN_DOUBT', 'EXECUTED', 'REJECTED') CHARACTER SET ascii NOT NULL,
  -- Why it is where it is: a word for programs.
  reason         VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  -- The bank may have heard of it: from then on nobody but the bank decides it.
  may_be_known   BOOLEAN NOT NULL,
  -- Who said the last word. NULL: nobody yet.
  decided_by     ENUM('BANK', 'US') CHARACTER SET ascii NULL,
  -- Of the contract when it was sent; owed when it is EXECUTED.
  fee_minor      BIGINT NOT NULL,
  -- Calls so far; the gaps between them grow with it.
  tries          INT UNSIGNED NOT NULL,
  -- Grows with each claim: an answer to an older one is known by it.
  claim          INT UNSIGNED NOT NULL,
  -- When it is worked on next. NULL: it is decided.
  due_at         DATETIME(3) NULL,
  -- Whose limit of the day it uses.
  day            DATE NOT NULL,
  requested_at   DATETIME(3) NOT NULL,
  -- From when on its limit counts: from its acceptance, or from when it no longer waited for a bank that was down.
  counts_from    DATETIME(3) NOT NULL,
  decided_at     DATETIME(3) NULL,
  -- When the bank's books said the same, the last time.
  confirmed_at   DATETIME(3) NULL,
  -- W3C context of the request: the calls of the bank are part of its trace.
  traceparent    VARCHAR(55) CHARACTER SET ascii NULL,
  KEY firmbanking_due (bank, due_at),
  KEY firmbanking_state (state, decided_at),
  KEY firmbanking_confirmed (bank, confirmed_at, decided_at),
  KEY firmbanking_from (from_owner, firmbanking_id),
  KEY firmbanking_to (to_owner, firmbanking_id),
  CONSTRAINT firmbanking_amount CHECK (amount_minor > 0),
  CONSTRAINT firmbanking_decided CHECK ((due_at IS NULL) = (state IN ('EXECUTED', 'REJECTED')))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every change of state and every call of a bank.
CREATE TABLE IF NOT EXISTS firmbanking_history (
  history_no     BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  firmbanking_id BINARY(16) NOT NULL,
  state          ENUM('REQUESTED', 'WAITING', 'SENT', 'IN_DOUBT', 'EXECUTED', 'REJECTED') CHARACTER SET ascii NOT NULL,
  reason         VARCHAR(60) CHARACTER SET ascii COLLATE ascii_bin NULL,
  -- The call that led here, and how it ended: an outcome of the HTTP client.
  called         ENUM('SEND', 'ASK') CHARACTER SET ascii NULL,
  outcome        VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NULL,
  at             DATETIME(3) NOT NULL,
  KEY firmbanking_history_of (firmbanking_id, history_no),
  KEY firmbanking_history_at (at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What the last comparison with a bank's books found; the next one of that bank takes its place.
CREATE TABLE IF NOT EXISTS bank_difference (
  bank           VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- As the bank names it: an id of ours, or one that we do not know.
  transfer_id    VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  difference     VARCHAR(200) NOT NULL,
  found_at       DATETIME(3) NOT NULL,
  PRIMARY KEY (bank, transfer_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS bank_reconciliation (
  reconciliation_no BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  bank           VARCHAR(30) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  began_at       DATETIME(3) NOT NULL,
  ended_at       DATETIME(3) NOT NULL,
  -- Transfers on the bank's statement.
  compared       INT UNSIGNED NOT NULL,
  differences    INT UNSIGNED NOT NULL,
  KEY bank_reconciliation_bank (bank, ended_at),
  KEY bank_reconciliation_ended_at (ended_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
