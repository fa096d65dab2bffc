-- The ledger: accounts, transfers, their entries, holds. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again.
-- Amounts are integer minor units of the account's currency; ids are UUIDs of version 7 as bytes.

-- A member's account, or a sub-account of one of our own (house:<name>:<currency>/<n>).
CREATE TABLE IF NOT EXISTS ledger_account (
  account_no    INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  -- The pseudonym of a member, or the name of a house account.
  account_id    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  currency      CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state         ENUM('OPEN', 'SUSPENDED', 'CLOSED') CHARACTER SET ascii NOT NULL,
  may_overdraw  BOOLEAN NOT NULL,
  -- Running: the sum of the entries; version is their number.
  balance_minor BIGINT NOT NULL,
  -- The sum of the open holds on it.
  held_minor    BIGINT NOT NULL,
  version       INT UNSIGNED NOT NULL,
  opened_at     DATETIME(3) NOT NULL,
  UNIQUE KEY ledger_account_id (account_id),
  -- Whatever a program does: nobody spends what is not there, or what is held.
  CONSTRAINT ledger_account_covered CHECK (may_overdraw = 1 OR balance_minor >= held_minor),
  CONSTRAINT ledger_account_held CHECK (held_minor >= 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What moved: a leg from one account to another. The legs of a transfer are booked together or not at all.
CREATE TABLE IF NOT EXISTS ledger_transfer (
  transfer_id  BINARY(16) NOT NULL,
  leg          TINYINT UNSIGNED NOT NULL,
  from_no      INT UNSIGNED NOT NULL,
  -- Of its entry, so that both are found by their key.
  from_version INT UNSIGNED NOT NULL,
  to_no        INT UNSIGNED NOT NULL,
  to_version   INT UNSIGNED NOT NULL,
  amount_minor BIGINT NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  reason       VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- The transfer that it takes back.
  corrects     BINARY(16) NULL,
  booked_at    DATETIME(3) NOT NULL,
  PRIMARY KEY (transfer_id, leg),
  UNIQUE KEY ledger_transfer_corrects (corrects, leg),
  CONSTRAINT ledger_transfer_amount CHECK (amount_minor > 0),
  CONSTRAINT ledger_transfer_accounts CHECK (from_no <> to_no)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Two of a leg: the debit (below zero) and the credit. The primary key keeps an account's entries together in their
-- order: a page of its history is one range.
CREATE TABLE IF NOT EXISTS ledger_entry (
  account_no    INT UNSIGNED NOT NULL,
  -- 1 for the first entry of the account, and then one more each: none is missing, none is there twice.
  version       INT UNSIGNED NOT NULL,
  transfer_id   BINARY(16) NOT NULL,
  leg           TINYINT UNSIGNED NOT NULL,
  amount_minor  BIGINT NOT NULL,
  -- Of the account after this entry.
  balance_minor BIGINT NOT NULL,
  -- The account of the other entry, and why: a page of history asks for no transfer.
  other_no      INT UNSIGNED NOT NULL,
  reason        VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  booked_at     DATETIME(3) NOT NULL,
  PRIMARY KEY (account_no, version),
  CONSTRAINT ledger_entry_amount CHECK (amount_minor <> 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What is under way: the amount is reserved on from_no until it is posted (as a transfer) or released.
CREATE TABLE IF NOT EXISTS ledger_hold (
  hold_id      BINARY(16) NOT NULL PRIMARY KEY,
  from_no      INT UNSIGNED NOT NULL,
  to_no        INT UNSIGNED NOT NULL,
  amount_minor BIGINT NOT NULL,
  currency     CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  reason       VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state        ENUM('OPEN', 'POSTED', 'RELEASED') CHARACTER SET ascii NOT NULL,
  -- The transfer that posted it.
  transfer_id  BINARY(16) NULL,
  held_at      DATETIME(3) NOT NULL,
  ended_at     DATETIME(3) NULL,
  -- Open ones; and for retention.
  KEY ledger_hold_state (state, ended_at),
  CONSTRAINT ledger_hold_amount CHECK (amount_minor > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The books are written and never changed: what was wrong is taken back by another transfer.
CREATE TRIGGER IF NOT EXISTS ledger_transfer_unchanged BEFORE UPDATE ON ledger_transfer FOR EACH ROW
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a transfer is never changed';
CREATE TRIGGER IF NOT EXISTS ledger_transfer_kept BEFORE DELETE ON ledger_transfer FOR EACH ROW
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a transfer is never deleted';
CREATE TRIGGER IF NOT EXISTS ledger_entry_unchanged BEFORE UPDATE ON ledger_entry FOR EACH ROW
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'an entry is never changed';
CREATE TRIGGER IF NOT EXISTS ledger_entry_kept BEFORE DELETE ON ledger_entry FOR EACH ROW
  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'an entry is never deleted';
