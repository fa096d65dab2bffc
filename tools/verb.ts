/** What a verb of ./muster is, and what happens around every one: options, interruption, errors, exit code. */
import { styleText } from 'node:util';
import type { Command } from 'commander';
import { type Environment, environmentNamed, type ImageSource, spansHosts } from '../catalog/environments.ts';
import { trustAuthority } from '../environment/certificate.ts';
import { killChildren } from '../environment/children.ts';
import { interrupted } from '../environment/interruption.ts';
import { secretsFile } from '../environment/variables.ts';
import { MusterError } from '../workers/base/errors.ts';
import { describeExits, type Exit, exitCodes, exitOf } from './exit-codes.ts';
import { withEnvironment } from './terminal.ts';

export interface VerbContext {
  readonly environment: Environment;
  /** What --images said; undefined: decide by trying to pull. */
  readonly images: ImageSource | undefined;
  readonly debug: boolean;
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

export interface VerbSpec<Options> {
  /** With its arguments, as commander writes them: `trace [id]`. */
  readonly usage: string;
  readonly description: string;
  /** Command line after ./muster, and what it does. */
  readonly examples: readonly (readonly [line: string, does: string])[];
  /** Exit codes beside 0, 64, 70 and 130. */
  readonly exits: readonly Exit[];
  /** It changes what runs or what is kept: with an environment on other hosts it goes ahead only with `--yes`. */
  readonly changes?: true;
  /** Adds options. */
  configure?(command: Command): Command;
  /** Returning nothing means ok. */
  run(context: VerbContext, options: Options, args: readonly string[]): Promise<Exit | undefined>;
}

const interruption = new AbortController();

/** Adds a verb (or, on a verb's command, a sub-verb) to the command line. */
export function addVerb<Options = Record<string, never>>(parent: Command, spec: VerbSpec<Options>): Command {
  const command = parent.command(spec.usage).description(spec.description);
  spec.configure?.(command);
  if (spec.changes) command.option('--yes', 'go ahead with an environment on other hosts');
  const width = Math.max(...spec.examples.map(([line]) => line.length));
  const examples = spec.examples.map(([line, does]) => `  $ ./muster ${line.padEnd(width)}   ${does}`);
  command.addHelpText(
    'after',
    `\nExamples:\n${examples.join('\n')}\n\nExit codes:\n${describeExits(spec.exits)}`,
  );
  command.action(async () => {
    const globals = command.optsWithGlobals<{ env: string; images?: ImageSource; debug?: boolean }>();
    const context: VerbContext = {
      environment: environmentNamed(globals.env),
      images: globals.images,
      debug: globals.debug === true,
      signal: interruption.signal,
    };
    await trustAuthority(context.environment, secretsFile(context.environment));
    if (spec.changes && command.opts<{ yes?: true }>().yes !== true) refuseOtherHosts(context.environment);
    const args = command.processedArgs.flat().filter((arg): arg is string => typeof arg === 'string');
    const exit = await spec.run(context, command.opts<Options & object>() as Options, args);
    process.exitCode = exitCodes[exit ?? 'ok'].code;
  });
  return command;
}

/** Throws MUSTER_USAGE_YES. */
function refuseOtherHosts(environment: Environment): void {
  if (spansHosts(environment))
    throw new MusterError(
      'MUSTER_USAGE_YES',
      `Environment ${environment.name} runs on ${Object.keys(environment.hosts).length} Docker hosts; nothing was done. If that is meant, add --yes.`,
    );
}

/**
 * Parses the command line and runs one verb; every way out ends in a documented exit code and, when it is an error,
 * in one plain sentence on stderr. A first Ctrl-C lets the verb stop cleanly, a second one ends it on the spot.
 */
export async function runCommandLine(program: Command, argv: readonly string[]): Promise<void> {
  const onSignal = (): void => {
    if (interruption.signal.aborted) {
      killChildren();
      process.exit(exitCodes.interrupted.code);
    }
    process.stderr.write('\nmuster: stopping cleanly; press Ctrl-C again to stop at once.\n');
    interruption.abort(interrupted());
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  // `./muster logs | head` closes our output early: a wish to stop, and no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    interruption.abort(interrupted());
  });
  const debug = argv.includes('--debug');
  try {
    await program.parseAsync([...argv], { from: 'user' });
    if (interruption.signal.aborted) throw interrupted();
  } catch (error) {
    const { env: name } = program.opts<{ env: string }>();
    process.exitCode = report(interruption.signal.aborted ? interrupted() : error, { name }, debug);
  } finally {
    // Clients (Kafka, HTTP keep-alive) may hold the loop open after the verb is done.
    killChildren();
    if (process.exitCode !== undefined) setTimeout(() => process.exit(), 200).unref();
  }
}

/** Prints an error for a person, about an environment, and returns the exit code it leads to. */
function report(error: unknown, environment: { readonly name: string }, debug: boolean): number {
  const exit = exitOf(error);
  const { code, message } = error as { code?: string; message?: string };
  const { exitCode } = error as { exitCode?: number };
  // Commander has printed what it has to say (help, version, a wrong option) itself.
  if (code?.startsWith('commander.') === true) return exitCode === 0 ? 0 : exitCodes.usage.code;
  const red = (text: string) => styleText('red', text, { stream: process.stderr });
  if (exit === 'interrupted') {
    const text = 'muster: stopped. Nothing is broken: ./muster up continues, ./muster down cleans up.';
    process.stderr.write(`${withEnvironment(text, environment)}\n`);
  } else if (exit === 'internal') {
    process.stderr.write(
      `${red('muster:')} ${firstLine(message ?? String(error))} (MUSTER_INTERNAL). This is a bug; run again with --debug to see where.\n`,
    );
  } else {
    const text = (message ?? '').replace(new RegExp(`^${code}: `), '');
    process.stderr.write(`${red('muster:')} ${withEnvironment(text, environment)} (${code})\n`);
  }
  if (debug && error instanceof Error) {
    process.stderr.write(`${error.stack}\n`);
    if (error.cause !== undefined) process.stderr.write(`caused by: ${String(error.cause)}\n`);
  }
  return exitCodes[exit].code;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
