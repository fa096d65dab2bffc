# Kafka for image source `registry`: the official image plus the JMX exporter agent, so that brokers can be scraped.
# Users, paths, entrypoints: as in ./Dockerfile. Java 21; official scripts; /opt/kafka/config/log4j.properties logs to
# stdout and to /opt/kafka/logs.
ARG PARENT
FROM maven:3.9-eclipse-temurin-17 AS agent
RUN mvn --batch-mode --quiet dependency:copy -Dartifact=io.prometheus.jmx:jmx_prometheus_javaagent:1.0.1 \
      -DoutputDirectory=/agent -Dmdep.stripVersion=true \
 && echo "7d61f737fd661610ccc14aea79764faa1ea94a340cbc8f0029b3d2edea3d80c1  /agent/jmx_prometheus_javaagent.jar" | sha256sum -c -

FROM ${PARENT}
USER root
COPY --from=agent /agent/jmx_prometheus_javaagent.jar /opt/jmx/jmx_prometheus_javaagent.jar
RUN chmod 755 /opt/jmx && chmod 644 /opt/jmx/jmx_prometheus_javaagent.jar \
 && mkdir -p /var/lib/kafka/data /etc/muster && chown appuser:appuser /var/lib/kafka/data
ENV PATH=/opt/kafka/bin:$PATH
USER 1000:1000
STOPSIGNAL SIGTERM
