// Runs every server audit of graphql-http against a running server and accepts nothing but `ok`.
//
//     node audits.mjs URL [--header 'name: value']…
//
// A recommendation (`warn`) or an option (`notice`) that is not met is a failure too: this server means to follow
// GraphQL over HTTP to the letter. The requests are the audits' own; `--header` adds to them what a server asks of all
// callers, such as a token.

import { parseArgs } from 'node:util';
import { serverAudits } from 'graphql-http';

// The audits of the version the lock file names. Another count means that some are new, or that some do not run.
const EXPECTED = 61;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { header: { type: 'string', multiple: true, default: [] } },
});
const [url] = positionals;
if (!url) {
  console.error("usage: node audits.mjs URL [--header 'name: value']…");
  process.exit(2);
}

const added = values.header.map((header) => header.split(/:\s*/, 2));

/** `fetch` with the added headers, and an end to waiting. */
function fetchFn(target, init = {}) {
  const headers = new Headers(init.headers);
  for (const [name, value] of added) headers.set(name, value);
  return fetch(target, { ...init, headers, signal: AbortSignal.timeout(10_000) });
}

/** An audit throws where it could not even ask; that is a result like any other here. */
async function run(audit) {
  try {
    return await audit.fn();
  } catch (error) {
    return { id: audit.id, name: audit.name, status: 'fatal', reason: error.cause?.message ?? error.message };
  }
}

const audits = serverAudits({ url, fetchFn });
let passed = 0;
let failed = 0;

for (const audit of audits) {
  const { id, name, status, reason } = await run(audit);
  if (status === 'ok') passed += 1;
  else failed += 1;
  console.log(`${status.padEnd(6)} ${id} ${name}${reason ? `: ${reason}` : ''}`);
}
if (audits.length !== EXPECTED) {
  failed += 1;
  console.log(`error  there are ${audits.length} audits where ${EXPECTED} are expected; set EXPECTED after a look at them`);
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
