/** Bodies of requests: JSON in UTF-8, nothing else. */
import { HttpError } from './errors.ts';
import type { HttpServer } from './server.ts';

/** JSON bodies as bytes first: text that is not UTF-8 is refused, not repaired. */
export function acceptJson(app: HttpServer): void {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    let text: string;
    try {
      text = decoder.decode(bytes as Buffer);
    } catch {
      done(new HttpError(400, 'MUSTER_INVALID_JSON', 'the body is not valid UTF-8'));
      return;
    }
    if (text.trim() === '') {
      done(new HttpError(400, 'MUSTER_INVALID_JSON', 'the body is empty; JSON is expected'));
      return;
    }
    parse(request as never, text, (error, value) => {
      if (error === null || error === undefined) done(null, value);
      else done(new HttpError(400, 'MUSTER_INVALID_JSON', jsonProblem(error.message)));
    });
  });
}

/** What is wrong with the JSON, without the text around it: that may be personal data. */
function jsonProblem(message: string): string {
  const position = /position (\d+)/.exec(message)?.[1];
  return position === undefined
    ? 'the body is not valid JSON'
    : `the body is not valid JSON (at character ${position})`;
}
