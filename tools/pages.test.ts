import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { pagesOf } from './pages.ts';

const { dev, prod } = environments;

test('pages that people open have the addresses that they know; what is left out has none', (t) => {
  const pages = pagesOf(dev, { images: 'build', leftOut: new Set(['grafana', 'cmak']) });
  t.deepEqual(
    pages.map(({ name, url }) => `${name} ${url}`),
    [
      'console http://127.0.0.1:19080/console',
      'dashboards http://127.0.0.1:19080/console#dashboards',
      'traces http://127.0.0.1:19080/console#traces',
      'api http://127.0.0.1:19080/docs',
      'pay http://127.0.0.1:19082/docs',
      'delivery http://127.0.0.1:19083/docs',
      'prometheus http://127.0.0.1:19009/classic/graph',
      'alertmanager http://127.0.0.1:19010/api/v2/alerts',
      'logs http://127.0.0.1:19094/select/vmui',
    ],
  );
  const pulled = pagesOf(dev, { images: 'registry', leftOut: new Set() });
  t.is(pulled.find(({ name }) => name === 'jaeger')?.url, 'http://127.0.0.1:19016', 'it has a page there');
  const far = pagesOf(prod, { images: 'registry', leftOut: new Set() });
  t.true(far.some(({ name }) => name === 'grafana'));
  t.false(
    far.some(({ name }) => name === 'console'),
    'the console plays people: it is for laptops',
  );
});
