/** zoo.cfg of one member of the ensemble, and the znode that tells CMAK of the cluster. */
import type { Environment, ZooKeeperNode } from '../../catalog/environments.ts';
import { paths } from './paths.ts';
import { containerPorts, reachParts, zookeeperConnect } from './topology.ts';

/** zoo.cfg with a comment above every line that is not the default. */
export function renderZooCfg(environment: Environment, node: ZooKeeperNode): string {
  const servers = environment.zookeeper.nodes.map((peer) => {
    const quorum = reachParts(environment, `zookeeper-${peer.id}`, 'quorum');
    const election = reachParts(environment, `zookeeper-${peer.id}`, 'election');
    return `server.${peer.id}=${quorum.address}:${quorum.port}:${election.port}`;
  });
  return `# ZooKeeper ${node.id} of ${environment.name}: rendered from the catalog, do not edit.

# The clock of sessions and heartbeats; brokers' sessions may be 2 to 20 ticks long.
tickTime=${environment.zookeeper.tickTimeMs}
# Ticks a follower may take to connect and load the state: 10 s.
initLimit=${Math.ceil(10_000 / environment.zookeeper.tickTimeMs)}
# Ticks that a follower and its leader may hear nothing of each other: less than brokers' sessions last. Else a leader that
# freezes for a moment longer than they do is still the leader when it thaws, and ends them all by its own clock.
syncLimit=${syncLimitTicks(environment)}
# The named volume; holds myid, snapshots and the transaction log.
dataDir=${paths.zookeeperData}
clientPort=${containerPorts.zookeeperClient}
# A published address is not an address of the container itself: listen everywhere, the network decides who gets there.
quorumListenOnAllIPs=true
# Three members from the start: never fall back to a server of its own.
standaloneEnabled=false
# Health, status and sizes, and nothing that changes or dumps state.
4lw.commands.whitelist=srvr,mntr,ruok,dirs
# On by default, on a port nobody asked for.
admin.enableServer=false
# Keep five snapshots, look every six hours (the default never deletes any).
autopurge.snapRetainCount=5
autopurge.purgeInterval=6
metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
metricsProvider.httpHost=0.0.0.0
metricsProvider.httpPort=${containerPorts.zookeeperMetrics}
metricsProvider.exportJvmInfo=true

${servers.join('\n')}
`;
}

const syncLimitTicks = ({ kafka, zookeeper }: Environment) =>
  Math.floor((0.8 * kafka.zookeeperSessionTimeoutMs) / zookeeper.tickTimeMs);

/** The znode under /kafka-manager/configs: CMAK then shows the cluster without anybody entering it. */
export function renderCmakCluster(environment: Environment): string {
  return JSON.stringify({
    name: environment.name,
    curatorConfig: {
      zkConnect: zookeeperConnect(environment),
      zkMaxRetry: 100,
      baseSleepTimeMs: 100,
      maxSleepTimeMs: 1000,
    },
    enabled: true,
    // The newest that CMAK knows; newer brokers work with it.
    kafkaVersion: '2.4.1',
    jmxEnabled: false,
    jmxUser: null,
    jmxPass: null,
    jmxSsl: false,
    pollConsumers: true,
    filterConsumers: false,
    logkafkaEnabled: false,
    activeOffsetCacheEnabled: true,
    displaySizeEnabled: false,
    tuning: null,
    securityProtocol: 'PLAINTEXT',
    saslMechanism: null,
    jaasConfig: null,
  });
}

/** Creates the cluster's znode, or brings it up to date. Arguments: connection string, cluster name, JSON. */
export const cmakSeedScript = `set -u
connect=$1 name=$2 json=$3
zk() { ${paths.zookeeperBin}/zkCli.sh -server "$connect" "$@" 2>&1; }
for node in /kafka-manager /kafka-manager/configs; do
  zk create "$node" '' >/dev/null || zk get "$node" >/dev/null || { echo "cannot create $node"; exit 1; }
done
path=/kafka-manager/configs/$name
if zk create "$path" "$json" | grep -q '^Created '; then echo "created $path"; exit 0; fi
zk set "$path" "$json" >/dev/null
zk get "$path" | grep -qF "$json" || { echo "cannot write $path"; exit 1; }
echo "updated $path"
`;
