import test from 'ava';
import { imageRef } from '../stacks/images.ts';
import { leftOut } from './deployment.ts';

const [cmak, grafana] = (['cmak', 'grafana'] as const).map((name) => imageRef(name, 'registry')!.name);

test('what nobody could pull is left out; what a registry surely has is not looked for', (t) => {
  t.deepEqual([...leftOut('registry', [])], ['cmak']);
  t.deepEqual([...leftOut('registry', [cmak!])], []);
  t.deepEqual([...leftOut('build', [])], ['cmak', 'grafana']);
  t.deepEqual([...leftOut('build', [grafana!])], ['cmak']);
});
