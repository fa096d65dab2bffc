/** `<env>-kafka`: network, ZooKeeper ensemble, brokers, what they are told while they run, CMAK, topics. */
import type { Construct } from 'constructs';
import { allTopics, replicaAssignment, topicConfig } from '../catalog/topics.ts';
import { renderLiveSettings } from './config/kafka.ts';
import { paths } from './config/paths.ts';
import { brokersInside, placementOf, zookeeperConnect } from './config/topology.ts';
import { cmakSeedScript, renderCmakCluster } from './config/zookeeper.ts';
import { answersHttp, Container, Network, OneShotJob } from './constructs/container.ts';
import { EnvironmentStack, type EnvironmentStackProps } from './constructs/environment-stack.ts';
import { KafkaCluster } from './constructs/kafka-cluster.ts';
import { ZooKeeperEnsemble } from './constructs/zookeeper-ensemble.ts';

export class KafkaStack extends EnvironmentStack {
  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id, props);
    const { environment } = this;
    // All hosts' networks are made here, also those without a broker: the other stacks only name theirs.
    const networks = Object.keys(environment.hosts).map(
      (host) => new Network(this, `network-${host}`, { host }),
    );
    const network = networks.map(({ resource }) => resource);

    const zookeeper = new ZooKeeperEnsemble(this, 'zookeeper', { dependsOn: network });
    const quorum = zookeeper.members.map(({ resource }) => resource);
    const kafka = new KafkaCluster(this, 'kafka', { dependsOn: quorum });

    const brokers = kafka.brokers.map(({ resource }) => resource);

    const liveSettings = renderLiveSettings(environment);
    const liveFile = `${paths.config}/live.properties`;
    const told = new OneShotJob(this, 'live-settings', {
      alias: 'live-settings',
      component: 'live-settings',
      host: environment.processes.host,
      image: 'worker',
      entrypoint: ['node'],
      command: ['/app/workers/live-settings/main.ts', liveFile],
      environment: { KAFKA_BROKERS: brokersInside(environment) },
      files: { [liveFile]: liveSettings },
      size: { memoryMiB: 192 },
      content: liveSettings,
      dependsOn: brokers,
    });

    new OneShotJob(this, 'topics', {
      alias: 'topics',
      component: 'topics',
      host: environment.processes.host,
      image: 'worker',
      entrypoint: ['node'],
      command: ['/app/workers/topics/main.ts', 'apply'],
      environment: { MUSTER_ENV: environment.name, KAFKA_BROKERS: brokersInside(environment) },
      size: { memoryMiB: 192 },
      content: allTopics.map((topic) => ({
        name: topic.name,
        partitions: topic.partitions,
        replicationFactor: topic.replicationFactor,
        assignment: replicaAssignment(topic, environment),
        config: topicConfig(topic, environment),
      })),
      // Topics made by hand take what they do not say themselves from the brokers.
      dependsOn: [...brokers, told.resource],
    });

    if (this.settings.image('cmak') !== undefined) this.addCmak(quorum);
  }

  /** CMAK with this cluster already in its list. */
  private addCmak(quorum: ConstructorParameters<typeof ZooKeeperEnsemble>[2]['dependsOn']): void {
    const { environment, settings } = this;
    const { cmak } = environment;
    const cluster = renderCmakCluster(environment);
    const seed = new OneShotJob(this, 'cmak-seed', {
      alias: 'cmak-seed',
      component: 'cmak',
      host: cmak.host,
      image: 'zookeeper',
      entrypoint: ['/bin/bash', '-c', cmakSeedScript, 'cmak-seed'],
      command: [zookeeperConnect(environment), environment.name, cluster],
      environment: { ZOO_LOG_DIR: '/tmp' },
      user: '1000:1000',
      size: { memoryMiB: 256 },
      content: cluster,
      dependsOn: quorum,
    });
    const placement = placementOf(environment, 'cmak');
    new Container(this, 'cmak', {
      alias: 'cmak',
      component: 'cmak',
      host: cmak.host,
      image: 'cmak',
      // Its own entrypoint: these variables are the interface that its configuration file documents.
      environment: {
        ZK_HOSTS: zookeeperConnect(environment),
        APPLICATION_SECRET: settings.secrets.cmakSecret,
        KAFKA_MANAGER_AUTH_ENABLED: 'true',
        KAFKA_MANAGER_USERNAME: 'admin',
        KAFKA_MANAGER_PASSWORD: settings.secrets.cmakPassword,
        JAVA_OPTS: `-Xms${cmak.size.heapMiB}m -Xmx${cmak.size.heapMiB}m -XX:+UseSerialGC`,
      },
      size: cmak.size,
      ports: placement.ports,
      stopGraceSeconds: 15,
      health: answersHttp(placement.ports.http!.container, '/api/health'),
      waitMs: 180_000,
      dependsOn: [seed.resource],
    });
  }
}
