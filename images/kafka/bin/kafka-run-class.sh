#!/bin/sh
# Runs a Kafka main class; as kafka-topics.sh and the like (links to this file) it runs the class of that name.
# Honours the variables of the official scripts: KAFKA_HEAP_OPTS, KAFKA_JVM_PERFORMANCE_OPTS, KAFKA_OPTS,
# KAFKA_JMX_OPTS, KAFKA_LOG4J_OPTS, CLASSPATH, LOG_DIR.
set -eu
home=/opt/kafka
heap=-Xmx256m
case $(basename "$0") in
  kafka-run-class.sh)
    [ $# -gt 0 ] || { echo 'usage: kafka-run-class.sh <class> [arguments]' >&2; exit 1; }
    class=$1
    shift ;;
  kafka-server-start.sh) class=kafka.Kafka heap='-Xms1g -Xmx1g' ;;
  kafka-acls.sh) class=kafka.admin.AclCommand ;;
  kafka-broker-api-versions.sh) class=kafka.admin.BrokerApiVersionsCommand ;;
  kafka-configs.sh) class=kafka.admin.ConfigCommand ;;
  kafka-console-consumer.sh) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
  kafka-console-producer.sh) class=kafka.tools.ConsoleProducer ;;
  kafka-consumer-groups.sh) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
  kafka-consumer-perf-test.sh) class=org.apache.kafka.tools.ConsumerPerformance ;;
  kafka-delete-records.sh) class=org.apache.kafka.tools.DeleteRecordsCommand ;;
  kafka-dump-log.sh) class=kafka.tools.DumpLogSegments ;;
  kafka-get-offsets.sh) class=org.apache.kafka.tools.GetOffsetShell ;;
  kafka-leader-election.sh) class=org.apache.kafka.tools.LeaderElectionCommand ;;
  kafka-log-dirs.sh) class=org.apache.kafka.tools.LogDirsCommand ;;
  kafka-producer-perf-test.sh) class=org.apache.kafka.tools.ProducerPerformance ;;
  kafka-reassign-partitions.sh) class=org.apache.kafka.tools.reassign.ReassignPartitionsCommand ;;
  kafka-topics.sh) class=org.apache.kafka.tools.TopicCommand ;;
  zookeeper-shell.sh) class=org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka ;;
  *) echo "$(basename "$0"): unknown name" >&2; exit 1 ;;
esac
config=tools-log4j.properties
[ "$class" = kafka.Kafka ] && config=log4j.properties
# Unquoted on purpose: these variables hold several words.
# shellcheck disable=SC2086
exec "${JAVA_HOME:-/usr}/bin/java" ${KAFKA_HEAP_OPTS:-$heap} \
  ${KAFKA_JVM_PERFORMANCE_OPTS:--server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true} \
  ${KAFKA_JMX_OPTS:-} -Dkafka.logs.dir="${LOG_DIR:-$home/logs}" \
  ${KAFKA_LOG4J_OPTS:--Dlog4j.configuration=file:$home/config/$config} \
  -cp "${CLASSPATH:+$CLASSPATH:}$home/libs/*" ${KAFKA_OPTS:-} "$class" "$@"
