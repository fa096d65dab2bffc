/** What JVMs that meet others by name are told, beside their own options. */
import { type Environment, spansHosts } from '../../catalog/environments.ts';
import { paths } from './paths.ts';

export const javaSecurityFile = `${paths.config}/java.security`;
export const freshAddresses = `-Djava.security.properties=${javaSecurityFile}`;

/**
 * A JVM keeps an address for 30 s, though a container that comes back may have another one; and for 10 s that there is none.
 * Meanwhile ZooKeeper goes on with the address that it had, so that two that were dead are looked for where they are not: without
 * this it took some 10 s longer until all served. (For the latter there is no option of its own.)
 */
export function renderJavaSecurity(): string {
  return 'networkaddress.cache.ttl=0\nnetworkaddress.cache.negative.ttl=0\n';
}

/**
 * A JVM that has just started spends its first minutes on making its code faster, before all others. On a host of its own nobody
 * minds; on one small host brokers that come back take the processors from everybody who waited for them: there they keep
 * to the quick compiler (docs/performance.md has both figures).
 */
export const compilerOptions = (environment: Environment): string =>
  spansHosts(environment) ? '' : ' -XX:TieredStopAtLevel=1';
