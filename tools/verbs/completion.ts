/** `./muster completion`: what the shell may offer while somebody types. */
import { Argument, type Command } from 'commander';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addCompletion(program: Command): void {
  addVerb(program, {
    usage: 'completion',
    description: 'print a script by which the shell completes verbs, options and their values',
    examples: [
      ['completion bash > ~/.muster.bash', 'then: source ~/.muster.bash'],
      ['completion zsh > ~/.muster.zsh', 'then: source ~/.muster.zsh'],
    ],
    exits: [],
    configure: (command) =>
      command.addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh'])),
    async run(_context, _options, [shell]) {
      const { completionScript } = await import('../completion.ts');
      say(completionScript(program, shell as 'bash' | 'zsh'));
      return undefined;
    },
  });
}
