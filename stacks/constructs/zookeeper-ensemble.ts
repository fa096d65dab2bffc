/** Three ZooKeepers. */

import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
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
            SERVER_JVMFLAGS: `-Xms${size.heapMiB}m -Xmx${size.heapMiB}m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError`,
            ZOO_LOG4J_PROP: 'INFO,CONSOLE',
            ZOO_LOG_DIR: '/tmp',
            JMXDISABLE: 'true',
          },
          user: '1000:1000',
          size,
          files: { [`${paths.config}/zoo.cfg`]: renderZooCfg(environment, node) },
          volumes: [{ volume, path: paths.zookeeperData }],
          ports: placement.ports,
          stopGraceSeconds: 20,
          // `Mode:` is answered only by a member that serves, that is, one in a quorum.
          health: checkedBy(
            '/bin/bash',
            '-c',
            `exec 3<>/dev/tcp/127.0.0.1/${placement.ports.client!.container} && printf srvr >&3 && grep -q '^Mode: ' <&3`,
          ),
          ...(first === undefined ? {} : { waitMs: 120_000 }),
          dependsOn: [...props.dependsOn, ...(first === undefined ? [] : [first.resource])],
        }),
      );
    }
    this.members = members;
  }
}
