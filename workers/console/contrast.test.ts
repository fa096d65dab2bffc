/** Text of the page can be read in both themes (WCAG AA); axe looks at the page itself in test/console.test.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const style = readFileSync(join(import.meta.dirname, 'page/style.css'), 'utf8');
const colorsIn = (block: string) =>
  new Map([...block.matchAll(/--([\w-]+): (#[\da-f]{6});/g)].map(([, name, hex]) => [name!, hex!]));
const [light, dark] = [...style.matchAll(/:root \{([^}]*)\}/g)].map(([, block]) => colorsIn(block!));

function luminance(hex: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

function contrast(one: string, other: string): number {
  const [brighter, darker] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (brighter! + 0.05) / (darker! + 0.05);
}

const texts = ['ink', 'quiet', 'accent', 'accent-text', 'good', 'pending', 'bad'];
const pairs = [
  ...texts.flatMap((text) => ['card', 'ground'].map((on) => [text, on, 4.5] as const)),
  ['accent-ink', 'accent', 4.5],
  ['ink', 'chat', 4.5],
  ['bubble-ink', 'bubble', 4.5],
  // Not text, but what a field ends at.
  ['edge', 'card', 3],
  ['edge', 'ground', 3],
] as const;

for (const [theme, colors] of [
  ['light', light!],
  ['dark', dark!],
] as const)
  test(`text has the contrast that it needs: ${theme}`, (t) => {
    for (const [text, on, least] of pairs) {
      const ratio = contrast(colors.get(text)!, colors.get(on)!);
      t.true(ratio >= least, `${text} on ${on}: ${ratio.toFixed(2)}`);
    }
    // The marks of tiles are dark in both.
    for (const tile of ['won', 'lost', 'waiting'])
      t.true(contrast('#101615', colors.get(tile)!) >= 4.5, tile);
  });
