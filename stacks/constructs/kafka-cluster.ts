/** Three Kafka brokers in ZooKeeper mode. */
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { spansHosts } from '../../catalog/environments.ts';
import { compilerOptions, freshAddresses, javaSecurityFile, renderJavaSecurity } from '../config/java.ts';
import { renderJmxExporter } from '../config/jmx.ts';
import { renderKafkaLog4j, renderServerProperties } from '../config/kafka.ts';
import { paths } from '../config/paths.ts';
import { containerPorts, placementOf } from '../config/topology.ts';
import { Container, checkedBy, Volume } from './container.ts';
import { EnvironmentStack } from './environment-stack.ts';

export interface KafkaClusterProps {
  readonly dependsOn: readonly ITerraformDependable[];
}

export class KafkaCluster extends Construct {
  readonly brokers: readonly Container[];

  constructor(scope: Construct, id: string, props: KafkaClusterProps) {
    super(scope, id);
    const { environment } = EnvironmentStack.of(this);
    const { size, nodes } = environment.kafka;
    this.brokers = nodes.map((node) => {
      const placement = placementOf(environment, `kafka-${node.id}`);
      const volume = new Volume(this, `data-${node.id}`, {
        host: node.host,
        name: `kafka-${node.id}-data`,
        component: 'kafka',
      });
      return new Container(this, `kafka-${node.id}`, {
        alias: placement.alias,
        component: 'kafka',
        node: node.id,
        host: node.host,
        image: 'kafka',
        // The agent's option is set for the broker alone: in the container's environment every kafka-*.sh that
        // somebody runs by `docker exec` would start an agent too and fail on its port.
        entrypoint: [
          '/usr/bin/env',
          `KAFKA_OPTS=-javaagent:${paths.jmxAgent}=${containerPorts.kafkaMetrics}:${paths.config}/jmx-exporter.yml`,
          `KAFKA_HEAP_OPTS=-Xms${size.heapMiB}m -Xmx${size.heapMiB}m`,
          `KAFKA_JVM_PERFORMANCE_OPTS=-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true ${freshAddresses}${compilerOptions(environment)}`,
          `KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:${paths.config}/log4j.properties`,
          // Without the script's own -loggc: up to 1 GiB of GC logs in the container's file system.
          'EXTRA_ARGS=-name kafkaServer',
          `${paths.kafkaHome}/bin/kafka-server-start.sh`,
        ],
        command: [`${paths.config}/server.properties`],
        size,
        files: {
          [`${paths.config}/server.properties`]: renderServerProperties(environment, node),
          [`${paths.config}/log4j.properties`]: renderKafkaLog4j(),
          [`${paths.config}/jmx-exporter.yml`]: renderJmxExporter(),
          [javaSecurityFile]: renderJavaSecurity(),
        },
        volumes: [{ volume, path: paths.kafkaData }],
        ports: placement.ports,
        // Three files a segment: on a machine of its own room for thousands of partitions.
        ...(spansHosts(environment) ? { openFiles: 100_000 } : {}),
        goesAlone: true,
        // Time to hand over its leaders and to close its logs.
        stopGraceSeconds: 60,
        // bash is in both images, since Kafka's scripts need it. The port opens after the broker has registered.
        health: {
          ...checkedBy(
            '/bin/bash',
            '-c',
            `exec 3<>/dev/tcp/127.0.0.1/${placement.ports.internal!.container}`,
          ),
          startPeriodMs: 120_000,
        },
        waitMs: 180_000,
        dependsOn: props.dependsOn,
      });
    });
  }
}
