/**
 * The gateways, as HAProxy's configuration: one before our processes that answer people, and one before the pages of servers that
 * are not ours. Two containers: the first is replaced whenever a process behind it comes or goes, and is stopped to see who is
 * told. Whoever judges that asks Prometheus and Alertmanager, by the second.
 *
 * What it does with trouble is decided here. A request that was never sent is sent to another replica, whatever it is. One that
 * may have arrived is sent again only when doing it twice is doing it once: GET and HEAD, and what carries an Idempotency-Key.
 * Everything else that is lost on the way is answered 502, and the caller decides.
 */

import { createHash } from 'node:crypto';
import { dirname } from 'node:path/posix';
import type { Environment, GatewayLimits } from '../../catalog/environments.ts';
import { paths } from './paths.ts';
import {
  containerPorts,
  hostOf,
  type PageServer,
  pageServers,
  placementOf,
  processReplicas,
  reach,
  reachParts,
} from './topology.ts';

/** Where people and programs reach the replicas of a process, or the page of a server. */
export interface Entrance {
  /** Name of the process, or of the server. */
  readonly process: string;
  /** A server that is not ours: it says in ways of its own whether it is ready, and may answer pages of any site (Alertmanager). */
  readonly isPage?: true;
  /** Port of the gateway in its container. */
  readonly port: number;
  readonly replicas: readonly {
    /** Its name as a host, which it answers to. */
    readonly alias: string;
    /** `address:port` */
    readonly address: string;
  }[];
}

export interface Gateway {
  /** In its log lines. */
  readonly name: 'gateway' | 'pages';
  readonly entrances: readonly Entrance[];
  /** Names under which it answers, beside localhost and addresses, without ports. */
  readonly hostNames: readonly string[];
  readonly limits: GatewayLimits;
  /** Of its own metrics (/metrics) and of the question whether it runs (/healthz). */
  readonly metricsPort: number;
  /** On the loopback of its container: where a reserve is told to it. */
  readonly controlPort: number;
  /** Certificate, chain and key, a file in its container: its entrances speak TLS and nothing else. Unset: plain HTTP/1.1. */
  readonly certificate?: string;
}

/** How often a replica is asked whether it is ready, and how soon it is believed that it is not. */
const checks = {
  everyMs: 500,
  againMs: 200,
  failures: 2,
  readyWithinMs: 2_000,
  /** Whoever refuses the slow makes them slower: all whom it refuses come again (seen: a thousand in ten seconds). */
  aliveWithinMs: 15_000,
};

const connectMs = 1_000;
/** What is under way has so long to end when another configuration is taken over: streams come again then. */
const drainMs = 30_000;

/** An answer of the gateway's own, in the one error format. */
const body = (code: `MUSTER_${string}`, message: string): string =>
  `content-type "application/json; charset=utf-8" string '${JSON.stringify({ error: { code, message } })}'`;

/** Texts stand between single quotes in the configuration: no apostrophes. */
const errors: Readonly<Record<number, string>> = {
  400: body('MUSTER_BAD_REQUEST', 'the request is not valid HTTP, or its headers are too long'),
  408: body('MUSTER_BAD_REQUEST', 'the request did not arrive in time'),
  500: body('MUSTER_INTERNAL', 'something went wrong at the gateway'),
  502: body(
    'MUSTER_GATEWAY_LOST',
    'the process ended before it had answered: it is not known whether the request took place. With an Idempotency-Key it can be sent again',
  ),
  503: `${body('MUSTER_GATEWAY_UNAVAILABLE', 'no process that does this can be reached at the moment; try again')} hdr retry-after 1`,
  504: body(
    'MUSTER_GATEWAY_TIMEOUT',
    'the process has not answered in time: it is not known whether the request took place. With an Idempotency-Key it can be sent again',
  ),
};

/** Name of what stands in for the only replica of a process while that is replaced. */
export const reserveOf = (process: string): string => `${process}-reserve`;

/** Where its configuration is inside the container: in a volume, since an upload would replace the container. */
export const gatewayConfig = `${paths.gateway}/haproxy.cfg`;

/** Where a certificate is inside the container of the gateway: another one has another name, so that it is taken over, too. */
export const certificateIn = (folder: string, pem = ''): string =>
  `${folder}/${createHash('sha256').update(pem).digest('hex').slice(0, 12)}.pem`;

/** The gateway of an environment: an entrance for each process that people and programs call. */
export function gatewayOf(environment: Environment, pem?: string): Gateway {
  const { ports } = placementOf(environment, 'gateway');
  const replicas = processReplicas(environment);
  return {
    name: 'gateway',
    entrances: environment.processes.list
      .filter(({ gatewayPort }) => gatewayPort !== undefined)
      .map(({ name }) => ({
        process: name,
        port: ports[name]!.container,
        replicas: replicas
          .filter(({ spec }) => spec.name === name)
          .map(({ alias }) => ({ alias, address: reach(environment, alias, 'http') })),
      })),
    hostNames: gatewayNames(environment),
    limits: environment.gateway.limits,
    metricsPort: containerPorts.gatewayMetrics,
    controlPort: containerPorts.gatewayControl,
    ...(environment.tls === undefined ? {} : { certificate: certificateIn(paths.gateway, pem) }),
  };
}

/** The gateway before the pages of these servers. */
export function gatewayOfPages(
  environment: Environment,
  servers: readonly PageServer[],
  pem?: string,
): Gateway {
  return {
    name: 'pages',
    entrances: servers.map((server) => ({
      process: server,
      isPage: true,
      port: pageServers[server].port,
      replicas: [{ alias: server, address: reach(environment, server, pageServers[server].portName) }],
    })),
    hostNames: gatewayNames(environment, 'pages'),
    limits: environment.pages.limits,
    metricsPort: containerPorts.gatewayMetrics,
    controlPort: containerPorts.gatewayControl,
    ...(environment.tls === undefined ? {} : { certificate: certificateIn(paths.config, pem) }),
  };
}

/** Names and addresses under which a gateway is reached: in containers, from other hosts, and by people. */
export const gatewayNames = (
  environment: Environment,
  name: 'gateway' | 'pages' = 'gateway',
): readonly string[] => [
  ...new Set([
    reachParts(environment, name, 'metrics').address,
    hostOf(environment, environment[name].host).address,
    ...environment.hostNames,
  ]),
];

/** haproxy.cfg */
export function renderGateway(gateway: Gateway): string {
  const { name, entrances, limits, metricsPort, controlPort, certificate } = gateway;
  const lines = [
    'global',
    '    log stdout format raw local0 info',
    `    stats socket ipv4@127.0.0.1:${controlPort} level admin`,
    `    maxconn ${limits.connections}`,
    // One a processor would be 64 on a large host, with a pool of memory each.
    '    nbthread 2',
    `    hard-stop-after ${drainMs}ms`,
    `    tune.buffers.limit ${limits.buffers}`,
    ...(certificate === undefined ? [] : tls),
    '',
    'resolvers engine',
    // A container that is replaced has another address, and a name server of the engine's own in its network knows it.
    '    parse-resolv-conf',
    '    timeout resolve 500ms',
    '    timeout retry 500ms',
    '    hold valid 500ms',
    // An address is kept until there is another: whether it is still who it was the checks say. HAProxy would take one that comes
    // back from nothing for up, unchecked (seen: requests that waited 2 s for a container that did not listen yet).
    '    hold nx 24d',
    '    hold timeout 24d',
    '    hold refused 24d',
    '    hold other 24d',
    '',
    'defaults',
    '    mode http',
    '    log global',
    // Who is ready, from the process before (`renderReload`). Without, everybody would be unknown for half a second.
    '    load-server-state-from-file global',
    // Else a process that ends closes connections on which a client is just sending.
    '    option idle-close-on-response',
    // What went well is told by metrics, and by traces. No address, path, query or header is in a line: those may be personal.
    '    option dontlognull',
    '    option dontlog-normal',
    `    log-format '${accessLog(name)}'`,
    // Of who does not come as far as a request HAProxy's own line has the address.
    ...(certificate === undefined ? [] : [`    error-log-format '${refusalLog(name)}'`]),
    // A body (its first 16 KiB) is here before a process is bothered, and can be sent again.
    '    option http-buffer-request',
    // Nobody speaks HTTP/2 without TLS.
    '    option disable-h2-upgrade',
    `    timeout http-request ${limits.requestMs}ms`,
    `    timeout http-keep-alive ${limits.idleMs}ms`,
    `    timeout client ${limits.silenceMs}ms`,
    `    timeout server ${limits.silenceMs}ms`,
    `    timeout tunnel ${limits.silenceMs}ms`,
    '    timeout client-fin 5s',
    '    timeout server-fin 5s',
    `    timeout connect ${connectMs}ms`,
    '    timeout queue 5s',
    '    retries 3',
    // To another replica from the first retry on.
    '    option redispatch 1',
    '    retry-on conn-failure empty-response',
    ...Object.entries(errors).map(([status, answer]) => `    http-error status ${status} ${answer}`),
    '',
    'backend clients',
    '    stick-table type ipv6 size 20k expire 10s store conn_cur,http_req_rate(10s)',
    '',
    ...(certificate === undefined
      ? []
      : ['backend h2-clients', '    stick-table type ipv6 size 20k expire 10s store conn_cur', '']),
    'frontend metrics',
    `    bind :${metricsPort}`,
    '    option dontlog-normal',
    '    monitor-uri /healthz',
    '    http-request use-service prometheus-exporter if { path /metrics }',
    '    http-request return status 404',
    ...entrances.flatMap((entrance) => ['', ...frontend(entrance, gateway), '', ...backend(entrance)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** Requests that a connection of HTTP/2 may have on their way: a browser has six connections of HTTP/1.1. */
const streamsOfConnection = 10;
/** Buffers that a connection of HTTP/2 fills when nobody reads it: 32 of its own, and four of each request. */
const buffersOfConnection = 32 + 4 * streamsOfConnection;

const tls = [
  '    ssl-default-bind-options ssl-min-ver TLSv1.2',
  // Of TLS 1.2 only those by which what is recorded today cannot be read by who gets the key one day.
  '    ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20',
  `    tune.h2.max-concurrent-streams ${streamsOfConnection}`,
  // A WebSocket comes by HTTP/1.1, and is a connection of its own.
  '    h2-workaround-bogus-websocket-clients',
];

const logTime = '%[date,utime(%Y-%m-%dT%H:%M:%SZ)]';

const refusalLog = (name: string) =>
  `{"time":"${logTime}","process":"${name}","frontend":"%f","refused":"%[fc_err_str]"}`;

const accessLog = (name: string) =>
  `{"time":"${logTime}","process":"${name}","backend":"%b","server":"%s","status":%ST,"durationMs":%Ta,"retries":"%rc","ended":"%tsc"}`;

/**
 * What a browser sends for a page of another site: it says so in Origin, or, where it sends none (pictures, scripts), in
 * Sec-Fetch-Site. Following a link is no such thing: that shows the page to the person, and to nobody else. Another port is
 * another site here, as an Origin has it.
 */
const foreignPages = [
  '    http-request set-var(txn.host) req.hdr(host),lower',
  '    acl from-page req.fhdr(origin) -m found',
  '    acl from-own-page req.fhdr(origin),lower,field(3,/),strcmp(txn.host) eq 0',
  '    acl from-elsewhere req.hdr(sec-fetch-site) -m str cross-site same-site',
  '    acl is-link req.hdr(sec-fetch-dest) -m str document',
  // VictoriaLogs keeps house there, and a link would do.
  '    acl is-housekeeping path,url_dec -m reg ^/+internal/',
  `    http-request return status 403 ${body('MUSTER_ORIGIN_REFUSED', 'pages of this origin may not call this server')} if from-page !from-own-page || from-elsewhere !is-link || from-elsewhere is-housekeeping`,
];

function frontend(
  { process, port, isPage }: Entrance,
  { hostNames, limits, certificate }: Gateway,
): string[] {
  const names = ['localhost', ...hostNames].map((name) => name.toLowerCase()).join(' ');
  return [
    `frontend ${process}-in`,
    `    bind :${port}${certificate === undefined ? '' : ` ssl crt ${certificate} alpn h2,http/1.1`}`,
    '    tcp-request connection track-sc0 src table clients',
    `    tcp-request connection reject if { sc0_conn_cur gt ${limits.connectionsEach} }`,
    ...(certificate === undefined
      ? []
      : [
          // One address must not have all buffers by answers that it does not read.
          '    tcp-request session track-sc1 src table h2-clients if { ssl_fc_alpn h2 }',
          `    tcp-request session reject if { sc1_conn_cur gt ${Math.floor(limits.buffers / 2 / buffersOfConnection)} }`,
        ]),
    `    http-request return status 429 ${body('MUSTER_TOO_MANY_REQUESTS', 'too many requests from this address; try again later')} hdr retry-after 10 if { sc0_http_req_rate gt ${limits.requestsEachIn10s} }`,
    // Rebinding needs a name of the attacker's own: addresses are safe. Only HTTP/1.0 can leave Host out, and no browser is that.
    `    acl host-known req.hdr(host),host_only,lower -m str ${names}`,
    '    acl host-known req.hdr(host) -m reg -i ^(\\[[0-9a-f:.]+\\]|[0-9.]+)(:[0-9]+)?$',
    `    http-request return status 421 ${body('MUSTER_HOST_UNKNOWN', 'this server does not answer under the name in the header Host')} if { req.hdr(host) -m found } !host-known`,
    ...(isPage === true ? foreignPages : []),
    `    http-request return status 413 ${body('MUSTER_BODY_TOO_LARGE', 'the body is longer than the limit of this server')} hdr connection close if { req.body_size gt ${limits.bodyBytes} }`,
    // Who calls, for limits of an address behind us; nobody says so themselves.
    '    http-request del-header x-forwarded- -m beg',
    '    http-request set-header x-forwarded-for %[src]',
    '    http-request disable-l7-retry unless { method GET HEAD } || { req.hdr(idempotency-key) -m found }',
    `    default_backend ${process}`,
  ];
}

/**
 * A replica that says it is not ready, or is slow to say it, gets nothing new. When none is ready the request goes to one that is
 * alive all the same: a process that waits for a part of what it needs still does the rest, and says what is missing better than we can.
 */
function backend({ process, replicas, isPage }: Entrance): string[] {
  // Two servers of one name have one address. Names are asked for when it runs: at its start it would wait for one that there is not.
  const found = 'resolvers engine resolve-prefer ipv4 resolve-opts allow-dup-ip init-addr last,none';
  // By its own name: an address may be another container's after a restart of both, and that one refuses the name.
  const check = (path: string, withinMs: number) => [
    '    option httpchk',
    `    timeout check ${withinMs}ms`,
    `    http-check send meth GET uri ${path} ver HTTP/1.1 hdr host %[srv_name]`,
    '    http-check expect status 200',
    `    default-server inter ${checks.everyMs}ms fastinter ${checks.againMs}ms downinter ${checks.everyMs}ms fall ${checks.failures} rise 1`,
  ];
  if (isPage === true)
    return [
      `backend ${process}`,
      // Whether it takes connections: one that is away is told at once.
      ...replicas.map(
        ({ alias, address }) => `    server ${alias} ${address} check inter 1s fall 2 rise 1 ${found}`,
      ),
    ];
  return [
    `backend ${process}`,
    '    balance leastconn',
    '    option allbackups',
    ...check('/readyz', checks.readyWithinMs),
    ...replicas.map(({ alias, address }) => `    server ${alias} ${address} check ${found}`),
    ...replicas.map(
      ({ alias, address }) =>
        `    server ${alias}-unready ${address} backup track ${process}-alive/${alias} ${found}`,
    ),
    // Nobody, until a copy takes the place of the only replica for a moment (`tools/reserve.ts`).
    ...(replicas.length === 1 ? [`    server ${reserveOf(process)} 127.0.0.1:1 check disabled`] : []),
    '',
    `backend ${process}-alive`,
    ...check('/healthz', checks.aliveWithinMs),
    ...replicas.map(({ alias, address }) => `    server ${alias} ${address} check ${found}`),
  ];
}

/** How a gateway that runs takes over another configuration. */
export interface Reloading {
  /** The configuration. */
  readonly config: string;
  /** The script that looks for another one. */
  readonly script: string;
  /** A folder that it may write to, and that goes with its container. */
  readonly folder: string;
  readonly controlPort: number;
}

export const gatewayReloading: Reloading = {
  config: gatewayConfig,
  script: `${paths.config}/reload.sh`,
  folder: '/tmp',
  controlPort: containerPorts.gatewayControl,
};

/** master.cfg, read before haproxy.cfg: the script is a program of HAProxy's master process, which starts it anew at each reload. */
export const renderMaster = ({ script, folder }: Reloading): string => `global
    server-state-file ${folder}/servers

program reload
    command /bin/sh ${script}
`;

/** For awk: of what is known of servers the lines of those that another configuration has at the same address; HAProxy keeps old ports. */
const sameServers =
  'NR == FNR { if ($1 == "server") same[$2 " " $3]; next } NF < 20 || ($4 " " ($18 == "-" ? $5 : $18) ":" $19) in same';

/**
 * reload.sh. A reload that fails changes nothing, and is not tried again. What is known of the servers is for the next process only:
 * after a start of the container addresses may be those of others.
 */
export const renderReload = ({ config, folder, controlPort }: Reloading): string => `trap 'exit 0' USR1
rm -f ${folder}/servers
[ -e ${folder}/taken.cfg ] || cp ${config} ${folder}/taken.cfg
while sleep 2; do
  cmp -s ${config} ${folder}/taken.cfg && continue
  cp ${config} ${folder}/taken.cfg
  echo 'show servers state' | nc 127.0.0.1 ${controlPort} | awk '${sameServers}' ${config} - > ${folder}/servers
  kill -USR2 $PPID
done
`;

/**
 * Puts a configuration in the place of another one, when HAProxy takes it; with the certificate that it names, if any, which is
 * there before it, and after which those of before go.
 */
export const handOver = (
  from: string,
  to: string,
  certificate?: { readonly from: string; readonly to: string },
): string =>
  [
    ...(certificate === undefined ? [] : [`cp ${certificate.from} ${certificate.to}`]),
    `haproxy -c -f ${from} && cp ${from} ${to}.next && mv ${to}.next ${to}`,
    ...(certificate === undefined
      ? []
      : [`find ${dirname(to)} -name '*.pem' ! -path ${certificate.to} -delete`]),
  ].join(' && ');
