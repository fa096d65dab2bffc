/** Asking a process by HTTP from inside its own container: most publish no port. */
import { run } from './children.ts';
import { type Container, dockerArgs } from './docker.ts';

interface InsideAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * GET of a path at a port of the container; undefined: there was no whole answer within five seconds. Never throws for what the
 * container does.
 */
export async function getInside(
  container: Container,
  port: number,
  path: string,
  token = '',
): Promise<InsideAnswer | undefined> {
  // bash speaks TCP by itself: cheaper than starting a second node in a small container. The token comes by stdin: a command
  // line is for all to see.
  const authorization = token === '' ? '' : 'Authorization: Bearer %s\\r\\n';
  const request = `GET ${path} HTTP/1.0\\r\\nHost: localhost\\r\\n${authorization}\\r\\n`;
  const script = `IFS= read -r token; exec 3<>/dev/tcp/127.0.0.1/${port} && printf '${request}' "$token" >&3 && timeout 5 cat <&3`;
  const { stdout, exitCode } = await run(
    'docker',
    dockerArgs(container, ['exec', '-i', container.id, '/bin/bash', '-c', script]),
    token === '' ? {} : { input: `${token}\n` },
  );
  const [, status, body] = /^HTTP\/1\.\d (\d{3})[\s\S]*?\r?\n\r?\n([\s\S]*)$/.exec(stdout) ?? [];
  return exitCode !== 0 || status === undefined ? undefined : { status: Number(status), body: body ?? '' };
}
