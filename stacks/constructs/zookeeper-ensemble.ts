/** Three ZooKeepers. */

import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import { compilerOptions, freshAddresses, javaSecurityFile, renderJavaSecurity } from '../config/java.ts';
import { paths } from '../config/paths.ts';
import { placementOf } from '../config/topology.ts';
import { renderZooCfg } from '../config/zookeeper.ts';
import { Container, checkedBy, Volume } from './container.ts';
import { EnvironmentStack } from './environment-stack.ts';

export interface ZooKeeperEnsembleProps {
  readonly dependsOn: readonly ITerraformDependable[];
}

/**
 * The first member is created without waiting: alone it can never be healthy. The others wait until they serve, which
 * takes two, so that whoever depends on the ensemble finds a quorum, however few things Terraform does at a time.
 */
export class ZooKeeperEnsemble extends Construct {
  /** What to depend on for a quorum. */
  readonly members: readonly Container[];

  constructor(scope: Construct, id: string, props: ZooKeeperEnsembleProps) {
    super(scope, id);
    const { environment } = EnvironmentStack.of(this);
    const { size, nodes } = environment.zookeeper;
    const members: Container[] = [];
    for (const node of nodes) {
      const placement = placementOf(environment, `zookeeper-${node.id}`);
      const first = members[0];
      const volume = new Volume(this, `data-${node.id}`, {
        host: node.host,
        name: `zookeeper-${node.id}-data`,
        component: 'zookeeper',
      });
      members.push(
        new Container(this, `zookeeper-${node.id}`, {
          alias: placement.alias,
          component: 'zookeeper',
          node: node.id,
          host: node.host,
          image: 'zookeeper',
          // myid belongs into the data volume, where nothing may be uploaded: written at every start.
          entrypoint: ['/bin/bash', '-c'],
          command: [
            `echo ${node.id} > ${paths.zookeeperData}/myid && exec ${paths.zookeeperBin}/zkServer.sh start-foreground ${paths.config}/zoo.cfg`,
          ],
          environment: {
            SERVER_JVMFLAGS: `-Xms${size.heapMiB}m -Xmx${size.heapMiB}m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError ${freshAddresses}${compilerOptions(environment)}`,
            ZOO_LOG4J_PROP: 'INFO,CONSOLE',
            ZOO_LOG_DIR: '/tmp',
            JMXDISABLE: 'true',
          },
          user: '1000:1000',
          size,
          files: {
            [`${paths.config}/zoo.cfg`]: renderZooCfg(environment, node),
            [javaSecurityFile]: renderJavaSecurity(),
          },
          volumes: [{ volume, path: paths.zookeeperData }],
          ports: placement.ports,
          goesAlone: true,
          stopGraceSeconds: 20,
          health: checkedBy('/bin/bash', '-c', sessionCheck(placement.ports.client!.container)),
          ...(first === undefined ? {} : { waitMs: 120_000 }),
          dependsOn: [...props.dependsOn, ...(first === undefined ? [] : [first.resource])],
        }),
      );
    }
    this.members = members;
  }
}

/**
 * Opens a session and ends it: only a member of a quorum answers (with 41 bytes), and both are writes. Those matter by
 * themselves: followers learn the transaction ids of a new epoch with its first write, and until then they refuse clients
 * of the former leader, who have seen newer ones. A Kafka cluster at rest writes nothing.
 *
 * ConnectRequest: length, version 0, last transaction seen 0, timeout 4 s, session 0, password of 16 zeros, not read-only.
 * Then a request of type -11, closeSession.
 */
function sessionCheck(port: number): string {
  const zeros = (count: number) => '\\0'.repeat(count);
  const connect = `${zeros(3)}\\x2d${zeros(4)}${zeros(8)}${zeros(2)}\\x0f\\xa0${zeros(8)}${zeros(3)}\\x10${zeros(17)}`;
  const close = `${zeros(3)}\\x08${zeros(3)}\\x01\\xff\\xff\\xff\\xf5`;
  return `exec 3<>/dev/tcp/127.0.0.1/${port} && printf '${connect}' >&3 && [ "$(head -c 41 <&3 | wc -c)" = 41 ] && printf '${close}' >&3 && head -c 20 <&3 >/dev/null`;
}
