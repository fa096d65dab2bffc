/**
 * A worker process for tests: real HTTP, logs, metrics and drain, with a worker that does as FIXTURE_* says, and a Kafka
 * client that is never used. Not part of the product.
 */
import { Type } from 'typebox';
import { noteStream } from '../http/realtime.ts';
import { connectKafka } from '../kafka/kafkajs.ts';
import { type ConnectKafka, runProcess } from './process.ts';
import type { Worker } from './worker.ts';

const note = (text: string) => process.stdout.write(`fixture: ${text}\n`);

const open = { config: { callers: 'anyone' } } as const;

const settings = Type.Object({
  FIXTURE_STOP_MS: Type.Integer({ minimum: 0, default: 0, description: 'how long stop() takes' }),
  FIXTURE_STORES: Type.Boolean({ default: false, description: 'whether start() connects MySQL and Redis' }),
  FIXTURE_START_FAILS: Type.Boolean({ default: false, description: 'whether start() rejects' }),
});

const worker: Worker<typeof settings> = {
  name: 'fixture',
  consumes: [],
  produces: [],
  config: settings,
  async start({ config, http, fail, log, database, redis }) {
    if (config.FIXTURE_START_FAILS) throw new Error('start is told to fail');
    let ready = true;
    http.get('/slow', open, async () => {
      await new Promise((resolve) => setTimeout(resolve, 400));
      return { slow: true };
    });
    http.get('/stream', open, (request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' });
      reply.raw.write('data: hello\n\n');
      noteStream(reply.raw, () => reply.raw.end());
      request.raw.once('close', () => note('stream closed'));
    });
    http.post('/fail', open, async () => {
      fail(new Error('told to fail'));
      return {};
    });
    http.post('/throw', open, async () => {
      setTimeout(() => {
        throw new Error('nobody catches this');
      });
      return {};
    });
    http.post('/reject', open, async () => {
      void Promise.reject(new Error('nobody awaits this'));
      return {};
    });
    http.post('/unready', open, async () => {
      ready = false;
      return {};
    });
    http.post('/log', open, async (request) => {
      log.info('a line', request.body as object);
      return {};
    });
    if (config.FIXTURE_STORES) {
      await database();
      await redis();
    }
    http.get('/stores', open, async () => {
      await database();
      const client = await redis();
      return { pong: await client.ping() };
    });
    return {
      ready: () => ready,
      waitingFor: () => 'told to be unready',
      async stop() {
        note('stopping');
        await new Promise((resolve) => setTimeout(resolve, config.FIXTURE_STOP_MS));
        note('stopped');
      },
    };
  },
};

const connect: ConnectKafka = (options) => {
  const kafka = connectKafka(options);
  return {
    ...kafka,
    async close() {
      await kafka.close();
      note('kafka closed');
    },
  };
};

await runProcess({ workers: [worker], connectKafka: connect });
