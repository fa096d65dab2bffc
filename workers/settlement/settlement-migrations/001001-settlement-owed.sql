-- OWED: payment takes a line out of what its merchant is owed before it is paid out, so that the merchant cannot give it back as well.
-- Works on MySQL 8.4 and MariaDB 10.11; each statement may run again. Lines that are under way stay where they are.
ALTER TABLE settlement_line
  MODIFY state ENUM('ACCOUNT', 'PAYOUT', 'PAYING_OUT', 'BOOK', 'BOOK_COMMISSION', 'STOPPED', 'CARRIED', 'DONE', 'OWED')
    CHARACTER SET ascii NOT NULL;
