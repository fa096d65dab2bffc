/**
 * Rows in which every two values of different factors meet at least once, out of all rows there may be (greedy; compare
 * AETG: Cohen, Dalal, Fredman, Patton, "The AETG System", 1997). Pure: the same seed gives the same rows in the same order.
 */

/**
 * Chooses again and again the row that brings most pairs that have not met yet for its cost; what is equally good is left to
 * `random`. Rows give the value of each factor as text; pairs that are in no row are not asked for.
 */
export function pairwise<Row>(
  rows: readonly Row[],
  valuesOf: (row: Row) => readonly string[],
  costOf: (row: Row) => number,
  random: () => number,
): readonly Row[] {
  const candidates = shuffled(rows, random).map((row) => ({
    row,
    pairs: pairsOf(valuesOf(row)),
    cost: costOf(row),
  }));
  const open = new Set(candidates.flatMap(({ pairs }) => pairs));
  const chosen: Row[] = [];
  while (open.size > 0) {
    const worth = ({ pairs, cost }: (typeof candidates)[number]) =>
      pairs.filter((pair) => open.has(pair)).length / cost;
    let best = candidates[0]!;
    let most = 0;
    for (const candidate of candidates) {
      const value = worth(candidate);
      if (value > most) [best, most] = [candidate, value];
    }
    chosen.push(best.row);
    for (const pair of best.pairs) open.delete(pair);
  }
  return chosen;
}

/** Every two values of a row, by their places. */
export function pairsOf(values: readonly string[]): readonly string[] {
  return values.flatMap((one, i) =>
    values.slice(i + 1).map((other, j) => `${i} ${one} | ${i + 1 + j} ${other}`),
  );
}

/** In an order of chance (Fisher and Yates). */
export function shuffled<Item>(items: readonly Item[], random: () => number): readonly Item[] {
  const list = [...items];
  for (let i = list.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}
