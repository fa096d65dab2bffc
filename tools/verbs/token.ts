/** `./muster token`: a token that says who calls the API. */
import { type Command, Option } from 'commander';
import { ensureSecrets } from '../../environment/secrets.ts';
import { secretsFile } from '../../environment/variables.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { type Role, roles, signToken } from '../../workers/http/tokens.ts';
import { parseDurationMs, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

interface Options {
  readonly role: Role;
  readonly user?: string;
  readonly ttl: string;
  readonly header?: boolean;
}

export function addToken(program: Command): void {
  addVerb<Options>(program, {
    usage: 'token',
    description: 'print a token that says who calls the API, by the environment’s own key',
    examples: [
      ['token --role customer --user u1', 'of a customer: sees and changes only what is theirs'],
      ['token --role operator --ttl 8h', 'of an operator'],
      ['token --role merchant --header > shop.header', 'for curl: curl -H @shop.header ...'],
    ],
    exits: ['failed', 'config'],
    configure: (command) =>
      command
        .addOption(
          new Option('--role <role>', 'what the caller may do (docs/security.md)')
            .choices(roles)
            .makeOptionMandatory(),
        )
        .option('--user <id>', 'who calls: the user id of a customer; for others, by default, the role')
        .option('--ttl <time>', 'how long it counts: 30s, 15m, 8h', '1h')
        .option('--header', 'as a header line of a request'),
    async run({ environment }, { role, user, ttl, header }) {
      if (environment.siteTokens !== undefined)
        throw new MusterError(
          'MUSTER_TOKENS_OF_SITE',
          `In ${environment.name} the site's identity provider (${environment.siteTokens.issuer}) makes the tokens: get one there.`,
        );
      const subject = user ?? (role === 'customer' ? undefined : role);
      if (subject === undefined) throw usage('--user is needed: the user id of the customer.');
      const { secrets } = await ensureSecrets(secretsFile(environment));
      const token = await signToken(secrets.tokenSigningKey, { role, subject, ttlMs: parseDurationMs(ttl) });
      process.stdout.write(header === true ? `authorization: Bearer ${token}\n` : `${token}\n`);
      return undefined;
    },
  });
}
