#!/bin/sh
# The ZooKeeper client: `zkCli.sh -server <host:port> <command>`.
set -eu
# shellcheck disable=SC2086
exec "${JAVA_HOME:-/usr}/bin/java" ${CLIENT_JVMFLAGS:--Xmx128m} ${JVMFLAGS:-} \
  -cp "${ZOOCFGDIR:-/conf}:/apache-zookeeper-3.9.4-bin/lib/*" org.apache.zookeeper.ZooKeeperMain "$@"
