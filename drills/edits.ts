/** Edits of source text. What is to be replaced must be there exactly once: else the edit is not the one that is meant. */
import { MusterError } from '../workers/base/errors.ts';

export interface Edit {
  /** From the checkout. */
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** The file's text with the edits of it. Throws MUSTER_EDIT when one does not fit. */
export function edited(file: string, text: string, edits: readonly Edit[]): string {
  return edits
    .filter((edit) => edit.file === file)
    .reduce((before, { find, put }) => {
      const [start, end, ...more] = before.split(find);
      if (end === undefined || more.length > 0)
        throw new MusterError(
          'MUSTER_EDIT',
          `${file} has ${end === undefined ? 'no' : 'more than one'} place that reads: ${find}`,
        );
      return start + put + end;
    }, text);
}
