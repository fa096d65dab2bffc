/** Shell completion, from the verbs themselves: verbs, sub-verbs, options, and the values that an option may have. Pure. */
import type { Command, Option } from 'commander';

const flagsOf = (command: Command): readonly Option[] => command.options.filter(({ hidden }) => !hidden);
const longOf = ({ long, short }: Option): string => long ?? short ?? '';

/** Options that take a value. */
const valued = (command: Command): readonly Option[] =>
  flagsOf(command).filter(({ required, optional }) => required || optional);

/** A verb by the words that lead to it: `topics apply`; the command itself by none. */
function everyVerb(command: Command, path: readonly string[] = []): readonly (readonly [string, Command])[] {
  return [
    [path.join(' '), command],
    ...command.commands.flatMap((verb) => everyVerb(verb, [...path, verb.name()])),
  ];
}

/** A script for bash, or for zsh by its bashcompinit, to be sourced: it completes `muster` and `./muster`. */
export function completionScript(program: Command, shell: 'bash' | 'zsh'): string {
  const verbs = everyVerb(program);
  const values = new Map<string, readonly string[]>();
  for (const [, verb] of verbs)
    for (const option of valued(verb))
      values.set(longOf(option), [
        ...new Set([...(values.get(longOf(option)) ?? []), ...(option.argChoices ?? [])]),
      ]);
  const global = flagsOf(program).map(longOf);
  const words = ([path, verb]: readonly [string, Command]) => [
    ...verb.commands.map((one) => one.name()),
    ...verb.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    ...flagsOf(verb).map(longOf),
    ...(path === '' ? [] : global),
    '--help',
  ];
  const answered = [...values].map(
    ([option, choices]) =>
      `    ${option}) COMPREPLY=($(compgen -W '${choices.join(' ')}' -- "$2")); return ;;`,
  );
  // Longer ones first: `topics apply` is no argument of `topics`.
  const offered = [...verbs]
    .reverse()
    .map((entry) => `    '${entry[0]}'${entry[0] === '' ? '' : '*'}) words='${words(entry).join(' ')}' ;;`);
  return `${shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : ''}_muster() {
  local i verb='' words
  case \${COMP_WORDS[COMP_CWORD-1]} in
${answered.join('\n')}
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${[...values.keys()].join('|')}) i=$((i + 1)) ;;
      -*) ;;
      *) verb="\${verb:+$verb }\${COMP_WORDS[i]}" ;;
    esac
  done
  case $verb in
${offered.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$2"))
}
complete -F _muster muster ./muster`;
}
