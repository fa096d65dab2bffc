import test from 'ava';
import { resourcesOf } from './state.ts';

test('resources of a state are found, none where there is no state, and a damaged one is said', (t) => {
  t.deepEqual(resourcesOf('', 'state'), []);
  const instances = [{ attributes: { id: 'abc' } }];
  const resources = [
    { mode: 'managed', type: 'docker_container', name: 'x', instances },
    { mode: 'data', type: 'docker_image', name: 'y', instances },
  ];
  t.deepEqual(resourcesOf(JSON.stringify({ resources }), 'state'), [
    { type: 'docker_container', name: 'x', ids: ['abc'] },
  ]);
  t.throws(() => resourcesOf('{"resou', 'state file /a'), {
    code: 'MUSTER_STATE',
    message: /file \/a is damaged/,
  });
});
