# MySQL-compatible server for image source `registry`: the official image of MariaDB 10.11, with what ./Dockerfile has besides: a folder
# of the server's for its log, and the names that MySQL uses.
ARG PARENT
FROM ${PARENT}
USER root
RUN for pair in mysqld:mariadbd mysql:mariadb mysqladmin:mariadb-admin mysqldump:mariadb-dump; do \
      name=${pair%%:*}; command -v "$name" >/dev/null || ln -s "$(command -v "${pair##*:}")" "/usr/bin/$name"; \
    done \
 && mkdir -p /var/lib/mysql /var/lib/mysql-files /var/run/mysqld /etc/muster \
 && chown 999:999 /var/lib/mysql /var/lib/mysql-files /var/run/mysqld
USER 999:999
STOPSIGNAL SIGTERM
