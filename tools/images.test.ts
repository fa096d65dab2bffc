import test from 'ava';
import { outdatedTags } from './images.ts';

test('old versions of our images go, the newest few and the current ones stay', (t) => {
  const tags = [
    'muster/worker:5',
    'muster/worker:4',
    'muster/kafka:1',
    'muster/worker:3',
    'muster/worker:2',
    'muster/worker:1',
  ];
  t.deepEqual(outdatedTags(tags, new Set(['muster/worker:1']), 3), ['muster/worker:2']);
});

test('images of others and images without a name are never removed', (t) => {
  t.deepEqual(
    outdatedTags(['other/worker:2', 'other/worker:1', 'muster/x:<none>', 'muster/x:<none>'], new Set(), 0),
    [],
  );
});
