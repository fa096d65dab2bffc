/** Service map: who talks to whom, how often, how well and how fast? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { callGraph, dashboardOf, highIsBad, quantile, rate, table } from './kit.ts';

const { messaging, http } = metrics;
const errors = '{error_type!=""}';
const byReader = 'messaging_consumer_group_name, messaging_destination_name';
const bySender = 'process, messaging_destination_name';
const byRoute = 'process, http_request_method, http_route';

/** Rate of those that the selector picks; 0 for all others that there are. */
const rateOfSome = (counter: string, by: string, selector: string) =>
  `${rate(counter, by, selector)} or ${rate(counter, by)} * 0`;

export const serviceMap = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'service-map',
    title: 'service map',
    description: 'Who talks to whom, how often, how well and how fast?',
    traces: true,
    rows: [
      {
        question: 'Who calls whom?',
        lines: [
          [
            callGraph({
              title: 'Calls between services',
              description:
                'From traces: requests and messages between services. The numbers on the edges are calls in the time that Jaeger keeps; rates are in the tables below, from metrics, which see every call.',
            }),
          ],
        ],
      },
      {
        question: 'Who sends what?',
        lines: [
          [
            table({
              title: 'Senders',
              description:
                'Records a second by process and topic, sends that failed, and the time to the ack (p99).',
              queries: [
                rate(messaging.sentMessages, bySender),
                rateOfSome(
                  `${messaging.clientOperationDuration}_count`,
                  bySender,
                  '{messaging_operation_name="send", error_type!=""}',
                ),
                quantile(
                  0.99,
                  messaging.clientOperationDuration,
                  bySender,
                  '{messaging_operation_name="send"}',
                ),
              ],
              columns: [
                { from: 'process', title: 'Sender' },
                { from: 'messaging_destination_name', title: 'Topic' },
                { from: 'A', title: 'Rate', unit: 'mps' },
                { from: 'B', title: 'Errors', unit: 'ops', steps: highIsBad({ red: 0.001 }) },
                { from: 'C', title: 'p99', unit: 's' },
              ],
              sortBy: { title: 'Rate', descending: true },
            }),
            table({
              title: 'Readers',
              description:
                'Records a second by group and topic, handlings that failed, and the time a handling takes (p99).',
              queries: [
                rate(messaging.consumedMessages, byReader),
                rateOfSome(`${messaging.processDuration}_count`, byReader, errors),
                quantile(0.99, messaging.processDuration, byReader),
              ],
              columns: [
                { from: 'messaging_destination_name', title: 'Topic' },
                { from: 'messaging_consumer_group_name', title: 'Group' },
                { from: 'A', title: 'Rate', unit: 'mps' },
                { from: 'B', title: 'Errors', unit: 'ops', steps: highIsBad({ red: 0.001 }) },
                { from: 'C', title: 'p99', unit: 's' },
              ],
              sortBy: { title: 'Rate', descending: true },
            }),
          ],
        ],
      },
      {
        question: 'Who is asked for what?',
        lines: [
          [
            table({
              title: 'Requests',
              description:
                'HTTP requests a second by process and route, answers with 5xx, and the time to the answer (p99).',
              queries: [
                rate(`${http.requestDuration}_count`, byRoute),
                rateOfSome(`${http.requestDuration}_count`, byRoute, '{http_response_status_code=~"5.."}'),
                quantile(0.99, http.requestDuration, byRoute),
              ],
              columns: [
                { from: 'process', title: 'Process' },
                { from: 'http_request_method', title: 'Method' },
                { from: 'http_route', title: 'Route' },
                { from: 'A', title: 'Rate', unit: 'reqps' },
                { from: 'B', title: '5xx', unit: 'reqps', steps: highIsBad({ red: 0.001 }) },
                { from: 'C', title: 'p99', unit: 's' },
              ],
              sortBy: { title: 'Rate', descending: true },
            }),
          ],
        ],
      },
    ],
  });
