/**
 * The page's texts in the language of who looks. English stands where it is shown, in say`...`, and is the key to the other
 * languages: a text that a dictionary lacks stays English, so that rooms may follow one by one.
 */
import { korean, koreanOfData } from './korean.js';

const dictionaries = { en: {}, ko: { ...koreanOfData, ...korean } };
const place = 'muster-language';
const isKnown = (language) => Object.hasOwn(dictionaries, language);

function languageOfThisBrowser() {
  const [wanted] = navigator.language.split('-');
  try {
    const kept = localStorage.getItem(place) ?? wanted;
    return isKnown(kept) ? kept : 'en';
  } catch {
    return isKnown(wanted) ? wanted : 'en';
  }
}

let spoken = languageOfThisBrowser();
document.documentElement.lang = spoken;

export const language = () => spoken;

/** From the next drawing on, and the next time that the page is opened. */
export function speak(next) {
  spoken = next;
  document.documentElement.lang = next;
  localStorage.setItem(place, next);
}

/** How numbers and times are written: as the browser wants it, where it speaks the language of the page. */
export const locale = () => (navigator.language.startsWith(spoken) ? navigator.language : spoken);

/** What comes as data, for texts that stand in a dictionary. */
export const translated = (english) => dictionaries[spoken][english] ?? english;

/** say`Order ${id} placed`: its key is "Order {0} placed". */
export function say(parts, ...values) {
  const key = parts.reduce((text, part, at) => `${text}{${at - 1}}${part}`);
  return translated(key).replace(/\{(\d+)\}/g, (_, at) => values[at]);
}
