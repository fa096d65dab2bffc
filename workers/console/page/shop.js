/** Tab Shop: coupons, orders, best-sellers. */
import { html } from './html.js';
import { Order } from './order.js';
import { Ranking } from './ranking.js';
import { Rush } from './rush.js';

export const Shop = ({ active }) => html`<${Rush} /><${Order} /><${Ranking} active=${active} />`;
