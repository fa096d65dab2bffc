/** A database that is none: a test says what it answers, and when. */
import { Kysely, MysqlDialect } from 'kysely';

/** Rows, or how many rows a statement has changed; rejects with what the server refuses it for. */
export type Answers = (statement: string, values: readonly unknown[]) => Promise<readonly object[] | number>;

export function answeringDatabase(answers: Answers): Kysely<unknown> {
  const connection = {
    query(
      statement: string,
      values: readonly unknown[],
      done: (error: unknown, result?: readonly object[] | object) => void,
    ) {
      answers(statement.trim(), values).then(
        (answer) => done(null, typeof answer === 'number' ? { affectedRows: answer, insertId: 0 } : answer),
        done,
      );
    },
    release() {},
  };
  const pool = {
    getConnection: (done: (error: unknown, connection: unknown) => void) => done(null, connection),
    end: (done: (error: unknown) => void) => done(null),
  };
  return new Kysely({ dialect: new MysqlDialect({ pool: pool as never }) });
}
