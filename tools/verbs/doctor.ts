/** `./muster doctor`: whether an `up` would find what it needs. */
import type { Command } from 'commander';
import { paint, say, sayJson, withEnvironment } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addDoctor(program: Command): void {
  addVerb<{ json?: boolean }>(program, {
    usage: 'doctor',
    description: 'say what up would need and not find: engine, tools, memory, disk, ports; starts nothing',
    examples: [
      ['doctor', 'before the first up on a machine'],
      ['doctor --json', 'for programs'],
    ],
    exits: ['failed'],
    configure: (command) => command.option('--json', 'for programs'),
    async run({ environment, images, signal }, options) {
      const { checksOf, findingsOf, findingsTable } = await import('../doctor.ts');
      const findings = (await findingsOf(checksOf(environment, images, signal))).map((finding) => ({
        ...finding,
        says: withEnvironment(finding.says, environment),
      }));
      const isWell = findings.every(({ ok }) => ok);
      if (options.json === true) sayJson({ environment: environment.name, ok: isWell, findings });
      else {
        say(findingsTable(findings, paint));
        if (isWell) say(withEnvironment('\nNothing is in the way of ./muster up.', environment));
      }
      return isWell ? 'ok' : 'failed';
    },
  });
}
