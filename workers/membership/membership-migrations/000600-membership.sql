-- Members: the only place that knows who they are. Works on MySQL 8.4 and MariaDB 10.11; each statement may run again.
CREATE TABLE IF NOT EXISTS member (
  member_id  CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  -- What others know the member by: events, accounts, what promises tell.
  pseudonym  CHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  type       ENUM('PERSON', 'MERCHANT') CHARACTER SET ascii NOT NULL,
  state      ENUM('ACTIVE', 'SUSPENDED', 'CLOSED') CHARACTER SET ascii NOT NULL,
  name       VARCHAR(200) NOT NULL,
  -- In lower case; a closed member has none, so that it is free again.
  email      VARCHAR(254) NULL,
  address    VARCHAR(300) NOT NULL,
  district   VARCHAR(100) NOT NULL,
  -- $scrypt$ln=..,r=..,p=..$salt$hash; a closed member has none.
  password   VARCHAR(120) CHARACTER SET ascii COLLATE ascii_bin NULL,
  -- Of the last event on member-events, and when that was decided.
  version    INT UNSIGNED NOT NULL,
  told_at    DATETIME(3) NOT NULL,
  created_at DATETIME(3) NOT NULL,
  UNIQUE KEY member_pseudonym (pseudonym),
  UNIQUE KEY member_email (email),
  KEY member_told (told_at),
  -- For retention.
  KEY member_state (state, told_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
