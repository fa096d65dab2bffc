/** `./muster render`: writes what is derived from the catalog. */
import type { Command } from 'commander';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addRender(program: Command): void {
  addVerb(program, {
    usage: 'render',
    description: 'write everything derived from the catalog under build/ (all environments; offline)',
    examples: [['render', 'build/<env>/kafka/server-1.properties ..., build/catalog/asyncapi.yaml']],
    exits: ['config'],
    async run() {
      const { renderEverything, writeRendered } = await import('../render.ts');
      const { added, changed, removed, unchanged } = await writeRendered(await renderEverything());
      for (const [mark, paths] of [
        ['+', added],
        ['~', changed],
        ['-', removed],
      ] as const)
        for (const path of paths) say(`${mark} build/${path}`);
      say(
        `build/: ${added.length} added, ${changed.length} changed, ${removed.length} removed, ${unchanged} unchanged`,
      );
      return undefined;
    },
  });
}
