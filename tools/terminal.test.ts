import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { withEnvironment } from './terminal.ts';

test('what somebody is told to run names the environment that it is about, once', (t) => {
  const text = 'Look at ./muster status and ./muster logs mysql; ./muster --env prod up --yes.';
  t.is(withEnvironment(text, environments.dev), text);
  t.is(
    withEnvironment(text, environments.ci),
    'Look at ./muster --env ci status and ./muster --env ci logs mysql; ./muster --env prod up --yes.',
  );
});
