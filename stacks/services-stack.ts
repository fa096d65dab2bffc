/** `<env>-services`: the worker processes of the environment but for the guard of its database, and the gateway before those that people and programs call. */
import type { Construct } from 'constructs';
import {
  gatewayConfig,
  gatewayOf,
  gatewayReloading,
  handOver,
  renderGateway,
  renderMaster,
  renderReload,
} from './config/gateway.ts';
import { paths } from './config/paths.ts';
import { containerPorts, placementOf, processReplicas } from './config/topology.ts';
import { answersHttp, Container, OneShotJob, Volume } from './constructs/container.ts';
import { EnvironmentStack, type EnvironmentStackProps } from './constructs/environment-stack.ts';
import { WorkerProcess } from './constructs/worker-process.ts';

export class ServicesStack extends EnvironmentStack {
  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id, props);
    for (const replica of processReplicas(this.environment).filter(
      ({ spec: { workers } }) => !workers.includes('mysql-guard'),
    ))
      new WorkerProcess(this, replica.alias, replica);
    this.addGateway();
  }

  private addGateway(): void {
    const { environment, settings } = this;
    const { gateway } = environment;
    const pem = settings.certificate;
    const spoken = gatewayOf(environment, pem);
    const config = renderGateway(spoken);
    const [handed, master] = [`${paths.config}/haproxy.cfg`, `${paths.config}/master.cfg`];
    const certificate =
      spoken.certificate === undefined
        ? undefined
        : { from: `${paths.config}/gateway.pem`, to: spoken.certificate };
    const volume = new Volume(this, 'gateway-settings-volume', {
      host: gateway.host,
      name: 'gateway-settings',
      component: 'gateway',
    });
    const volumes = [{ volume, path: paths.gateway }];
    const told = new OneShotJob(this, 'gateway-settings', {
      alias: 'gateway-settings',
      component: 'gateway-settings',
      host: gateway.host,
      image: 'haproxy',
      entrypoint: ['/bin/sh', '-c'],
      command: [handOver(handed, gatewayConfig, certificate)],
      // A new volume is root's; the gateway only reads it.
      user: '0:0',
      files: { [handed]: config, ...(certificate === undefined ? {} : { [certificate.from]: pem! }) },
      volumes,
      size: gateway.size,
      content: config,
    });
    new Container(this, 'gateway', {
      alias: 'gateway',
      component: 'gateway',
      host: gateway.host,
      image: 'haproxy',
      entrypoint: ['haproxy'],
      command: ['-W', '-db', '-f', master, '-f', gatewayConfig],
      size: gateway.size,
      files: {
        [master]: renderMaster(gatewayReloading),
        [gatewayReloading.script]: renderReload(gatewayReloading),
      },
      volumes,
      ports: placementOf(environment, 'gateway').ports,
      // What is under way has so long. Nobody listens meanwhile.
      stopGraceSeconds: 2,
      health: answersHttp(containerPorts.gatewayMetrics, '/healthz'),
      waitMs: 60_000,
      dependsOn: [told.resource],
    });
  }
}
