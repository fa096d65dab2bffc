/** `<env>-services`: the worker processes of the environment but for the guard of its database, and the gateway before those that people and programs call. */
import type { Construct } from 'constructs';
import { gatewayConfig, gatewayOf, renderGateway } from './config/gateway.ts';
import { containerPorts, placementOf, processReplicas } from './config/topology.ts';
import { answersHttp, Container } from './constructs/container.ts';
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
    const { environment } = this;
    const { gateway } = environment;
    new Container(this, 'gateway', {
      alias: 'gateway',
      component: 'gateway',
      host: gateway.host,
      image: 'haproxy',
      entrypoint: ['haproxy'],
      command: ['-db', '-f', gatewayConfig],
      size: gateway.size,
      files: { [gatewayConfig]: renderGateway(gatewayOf(environment)) },
      ports: placementOf(environment, 'gateway').ports,
      stopGraceSeconds: 5,
      health: answersHttp(containerPorts.gatewayMetrics, '/healthz'),
      waitMs: 60_000,
    });
  }
}
