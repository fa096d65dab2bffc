/** A docker that keeps its containers as files; among them a gateway, and a guard of MySQL, that take what they are told. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { metrics } from '../catalog/metrics.ts';
import { fakePrograms } from './fake-programs.fixture.ts';

const container = `${JSON.stringify({
  Id: 'NAME',
  Name: '/NAME',
  State: { Status: 'running', ExitCode: 0, OOMKilled: false, StartedAt: '2026-01-01T00:00:00Z' },
  RestartCount: 0,
  Config: { Image: 'i', Labels: {}, Hostname: 'NAME', Env: ['HTTP_ALLOWED_HOSTS=NAME'] },
  HostConfig: {
    ...{ Memory: 1, NanoCpus: 0, CapDrop: null, SecurityOpt: null, Ulimits: null, PortBindings: null },
    ...{ RestartPolicy: { Name: 'unless-stopped' }, LogConfig: { Type: 'json-file', Config: null } },
  },
  Mounts: [],
})}\n`;

/** Of a process that is ready; bash. */
export const makes = (name: string): string => `sed 's/NAME/${name}/g' template > containers/${name}`;

const docker = (placesFor: string) => `
case "$1" in
  ps) ls containers ;;
  create) ${makes('$3').replaceAll("'", '"')} ;;
  rm) rm -f "containers/$3" ;;
  inspect)
    if [ "$2" = --format ]; then echo 172.18.0.9; exit; fi
    shift 3
    cd containers && echo "[$(cat "$@" | paste -sd,)]" ;;
  exec)
    case "$*" in
      *" nc "*)
        read -r line
        echo "gateway: $line" >> calls
        case "$line" in
          "get weight "*) if [[ "$line" =~ ${placesFor} ]]; then echo '1 (initial 1)'; else echo 'No such server.'; fi ;;
          "show servers state "*) echo "5 p 1 \${line##* } 172.18.0.5 2 0" ;;
          *addr*) echo "IP changed from '127.0.0.1'" ;;
        esac ;;
      *" failover "*) for to; do :; done; echo "failover $to" >> calls; echo "$to" > writer ;;
      *) printf 'HTTP/1.1 200 OK\\r\\n\\r\\n'; sed "s/WRITER/$(cat writer)/" answer ;;
    esac ;;
esac`;

/** Until the test ends: these containers run, and the gateway has a place for a reserve of these processes. */
export async function fakeEngine(
  t: Parameters<typeof fakePrograms>[0],
  options: {
    readonly containers: readonly string[];
    readonly places: readonly string[];
    readonly terraform?: string;
    /** The member of MySQL that takes writes, of two that have everything. */
    readonly writer?: string;
  },
) {
  const { containers, places, terraform = '', writer } = options;
  const programs = await fakePrograms(t, {
    docker: docker(`^get\\ weight\\ (${places.join('|')})/`),
    terraform,
  });
  await mkdir(join(programs.folder, 'containers'));
  await writeFile(join(programs.folder, 'template'), container);
  await writeFile(join(programs.folder, 'writer'), writer ?? '');
  const { atRisk, writer: writes } = metrics.guard;
  const figures = `${atRisk} 0\n${writes}{member="WRITER"} 1\n`;
  await writeFile(join(programs.folder, 'answer'), writer === undefined ? '{}' : figures);
  for (const name of containers)
    await writeFile(join(programs.folder, 'containers', name), container.replaceAll('NAME', name));
  return {
    ...programs,
    /** What was done, in order and in short. */
    async deeds() {
      return (await programs.calls())
        .filter((line) =>
          /^(docker (create|start|stop|rm)|gateway|failover|terraform apply|replaced)/.test(line),
        )
        .map((line) =>
          line.replace(/^docker (create --name )?/, (_, made) => (made === undefined ? '' : 'create ')),
        )
        .map((line) =>
          line.replace(/^(create \S+) .*/, '$1').replace(/^(terraform apply).*?( -target=.*|$)/, '$1$2'),
        );
    },
  };
}
