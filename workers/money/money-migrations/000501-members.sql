-- What money knows of members, from member-events: their accounts follow them. Works on MySQL 8.4 and MariaDB 10.11.
CREATE TABLE IF NOT EXISTS money_member (
  -- The pseudonym of the member.
  account_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  -- Unset: there was never need for one, because the first thing heard of the member was the end.
  account_no INT UNSIGNED NULL,
  type       ENUM('PERSON', 'MERCHANT') CHARACTER SET ascii NOT NULL,
  district   VARCHAR(100) NOT NULL,
  state      ENUM('ACTIVE', 'SUSPENDED', 'CLOSED') CHARACTER SET ascii NOT NULL,
  -- Of the newest event.
  version    INT UNSIGNED NOT NULL,
  changed_at DATETIME(3) NOT NULL,
  -- Sums by district, and accounts of who has left, read no row that is not asked for.
  KEY money_member_district (district, type, account_no),
  KEY money_member_state (state, account_no)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
