/**
 * Rows of named numbers in one block of memory. Fifty groups on a thousand partitions are fifty thousand rows: as
 * objects, with a heap number for each time, they take three times the room, and the collector's slack on top of that.
 */

/** A row as an object over its block: what is set goes into the block. Valid until the block grows. */
export type Row<Field extends string> = { [name in Field]: number };

export interface NumberRows<Field extends string> {
  /** The row; zeros at first. The block grows when it must. */
  at(index: number): Row<Field>;
  /** Rows that there is room for. */
  readonly capacity: number;
}

/** Gives what makes blocks of rows with these fields, with room for so many rows at first. */
export function numberRows<Field extends string>(
  fields: readonly Field[],
): (capacity: number) => NumberRows<Field> {
  const width = fields.length;
  class FieldRow {
    readonly block: Float64Array;
    readonly base: number;
    constructor(block: Float64Array, base: number) {
      this.block = block;
      this.base = base;
    }
  }
  fields.forEach((field, i) => {
    Object.defineProperty(FieldRow.prototype, field, {
      get(this: FieldRow) {
        return this.block[this.base + i];
      },
      set(this: FieldRow, value: number) {
        this.block[this.base + i] = value;
      },
    });
  });
  return (capacity) => {
    let block = new Float64Array(capacity * width);
    return {
      at(index) {
        const base = index * width;
        if (base >= block.length) {
          const bigger = new Float64Array(Math.max(2 * block.length, base + width));
          bigger.set(block);
          block = bigger;
        }
        return new FieldRow(block, base) as unknown as Row<Field>;
      },
      get capacity() {
        return block.length / width;
      },
    };
  };
}
