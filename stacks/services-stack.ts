/** `<env>-services`: the worker processes of the environment. */
import type { Construct } from 'constructs';
import { processReplicas } from './config/topology.ts';
import { EnvironmentStack, type EnvironmentStackProps } from './constructs/environment-stack.ts';
import { WorkerProcess } from './constructs/worker-process.ts';

export class ServicesStack extends EnvironmentStack {
  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id, props);
    for (const { alias, node, spec } of processReplicas(this.environment))
      new WorkerProcess(this, alias, { alias, node, spec });
  }
}
