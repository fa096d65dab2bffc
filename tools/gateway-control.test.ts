import test from 'ava';
import { sendsTo } from './gateway-control.ts';

// As HAProxy 2.6 says it.
const states = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
5 api 1 api 172.18.0.5 2 0 1 1 16 15 3 2 6 0 0 0 - 8080 - 0 0 - - 0
5 api 2 api-2 172.18.0.6 0 0 1 1 16 15 3 2 6 0 0 0 - 8080 - 0 0 - - 0
5 api 3 api-unready 172.18.0.5 2 0 1 1 16 1 0 1 0 0 0 0 - 8080 - 0 0 - - 0
5 api 4 api-2-unready 172.18.0.6 2 0 1 1 16 1 0 1 0 0 0 0 - 8080 - 0 0 - - 0`;

test('a replica gets requests when its own server is up, not when only the one of last resort is', (t) => {
  t.true(sendsTo(states, 'api'));
  t.false(sendsTo(states, 'api-2'));
});

test('a replica that the gateway does not know is told from one that is down', (t) => {
  t.is(sendsTo(states, 'api-3'), undefined);
  t.is(sendsTo("Can't find backend.", 'api'), undefined);
});
