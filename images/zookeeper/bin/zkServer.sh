#!/bin/sh
# Starts a ZooKeeper server in the foreground: `zkServer.sh start-foreground [<zoo.cfg>]`.
# Honours the variables of the official script: ZOOCFGDIR, ZK_SERVER_HEAP (MB), SERVER_JVMFLAGS, JVMFLAGS.
set -eu
if [ "${1:-}" != start-foreground ]; then
  echo 'usage: zkServer.sh start-foreground [<zoo.cfg>]' >&2
  exit 1
fi
config=${2:-zoo.cfg}
case $config in
  */*) ;;
  *) config=${ZOOCFGDIR:-/conf}/$config ;;
esac
# Unquoted on purpose: these variables hold several words.
# shellcheck disable=SC2086
exec "${JAVA_HOME:-/usr}/bin/java" -Xmx"${ZK_SERVER_HEAP:-1000}"m ${SERVER_JVMFLAGS:-} ${JVMFLAGS:-} \
  -XX:+ExitOnOutOfMemoryError -Dzookeeper.log.dir="${ZOO_LOG_DIR:-/logs}" -Dcom.sun.management.jmxremote.local.only=true \
  -cp "${ZOOCFGDIR:-/conf}:/apache-zookeeper-3.9.4-bin/lib/*" \
  org.apache.zookeeper.server.quorum.QuorumPeerMain "$config"
