// Opens GraphiQL of a running server in a real browser and uses it as a person would.
//
//     node run.mjs URL [--expect TEXT]… [--screenshot FILE] [--header 'name: value']… [--chromium FILE]
//
// URL is the server's root. Checks that the page asks no foreign host for anything, that the first example is in the
// editor, that it executes without an error and its answer holds every TEXT, that the explorer shows the schema, and
// that the examples are listed and open. `--header` goes into GraphiQL's headers editor, as a token would.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    expect: { type: 'string', multiple: true, default: [] },
    screenshot: { type: 'string' },
    header: { type: 'string', multiple: true, default: [] },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node run.mjs URL [--expect TEXT]… [--screenshot FILE] [--header 'name: value']… [--chromium FILE]");
  process.exit(2);
}
const root = new URL(positionals[0]);
const headers = Object.fromEntries(values.header.map((header) => header.split(/:\s*/, 2)));

// Long enough for a slow machine; nothing waits this long when all is well.
const PATIENCE_MS = 30_000;

let passed = 0;
let failed = 0;

/** Runs one check. The ones after it still run, so that one failure does not hide another. */
async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok     ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`failed ${name}: ${error.message}`);
  }
}

function assert(holds, message) {
  if (!holds) throw new Error(message);
}

/** Text without white space: the editors wrap lines where they like and show spaces as other characters. */
const dense = (text) => text.replace(/\s/gu, '');

/** The lines of an editor that are on the screen, by their distance from its top. Monaco renders no others. */
const visibleLines = (editor) =>
  editor.evaluate((node) =>
    [...node.querySelectorAll('.view-line')].map((line) => [Number.parseFloat(line.style.top), line.textContent]),
  );

/** The whole text of an editor, dense: pages through it from the top and puts the lines together. */
async function textOf(page, editor) {
  await editor.click({ position: { x: 80, y: 8 } });
  await page.keyboard.press('ControlOrMeta+Home');
  const lines = new Map();
  // The end is where a few pages bring nothing new; one alone may only mean that the page is slow to draw.
  for (let idle = 0; idle < 4; idle += 1) {
    await page.waitForTimeout(50);
    for (const [top, text] of await visibleLines(editor)) {
      if (!lines.has(top)) idle = 0;
      lines.set(top, text);
    }
    await page.keyboard.press('PageDown');
  }
  const ordered = [...lines].sort(([a], [b]) => a - b);
  return dense(ordered.map(([, text]) => text).join(''));
}

/** Waits until an editor holds a document. */
async function waitForDocument(page, editor, document) {
  const wanted = dense(document);
  const end = Date.now() + PATIENCE_MS;
  let text = '';
  while (Date.now() < end) {
    text = await textOf(page, editor);
    if (text === wanted) return;
  }
  throw new Error(`the editor shows ${JSON.stringify(text.slice(0, 200))}`);
}

/** Asks the server directly, to know what the page ought to show. */
async function ask(path, body) {
  const response = await fetch(new URL(path, root), {
    method: body ? 'POST' : 'GET',
    headers: { 'content-type': 'application/json', 'x-requested-with': 'graphiql', ...headers },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  assert(response.ok, `${path} answers ${response.status}`);
  return response.json();
}

const examples = await ask('/graphiql/examples.json');
const schema = await ask('/graphql', { query: '{ __schema { queryType { fields { name } } } }' });
const fields = schema.data.__schema.queryType.fields.map(({ name }) => name);

const profile = await mkdtemp(join(tmpdir(), 'graphiql-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: values.chromium,
  headless: true,
  chromiumSandbox: false,
  viewport: { width: 1440, height: 900 },
  args: [
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});

try {
  browser.setDefaultTimeout(PATIENCE_MS);
  const page = browser.pages()[0] ?? (await browser.newPage());

  const foreign = [];
  const complaints = [];
  const note = (target) => {
    const { protocol, host } = new URL(target);
    if (/^(https?|wss?):$/.test(protocol) && host !== root.host) foreign.push(target);
  };
  browser.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  page.on('pageerror', (error) => complaints.push(error.message));
  // What the Content-Security-Policy refuses and what cannot be loaded is told to the console only.
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));

  await page.goto(new URL('/graphiql', root).href);
  const query = page.locator('.graphiql-query-editor .monaco-editor').first();
  const result = page.locator('.graphiql-response .monaco-editor').first();

  await check('the editors show the first example, overview', async () => {
    assert(examples[0]?.name === 'overview', `the first example is ${examples[0]?.name}`);
    await query.waitFor();
    await waitForDocument(page, query, examples[0].query);
    if (examples[0].variables === '') return;
    await waitForDocument(page, page.locator('[aria-label=Variables] .monaco-editor').first(), examples[0].variables);
  });

  if (values.header.length > 0) {
    await check('headers can be given', async () => {
      await page.locator('[data-name=headers]').click();
      await page.locator('[aria-label=Headers] .monaco-editor').last().click();
      await page.keyboard.insertText(JSON.stringify(headers));
      // The schema is asked for anew with the headers; that it was refused without them is no fault of the page.
      complaints.length = 0;
      await page.getByRole('button', { name: 'Re-fetch GraphQL schema' }).click();
    });
  }

  await check('the explorer shows the fields of Query', async () => {
    await page.getByRole('button', { name: 'Show GraphiQL Explorer' }).click();
    const explorer = page.locator('.graphiql-plugin');
    for (const field of fields) await explorer.getByText(field, { exact: true }).first().waitFor();
  });

  let answer = '';
  await check('executing it fills the result pane with data and no errors', async () => {
    // Execute asks which operation to run if a document has several, so an example to open first has one.
    await page.locator('.graphiql-execute-button').click();
    await result.locator('.view-line', { hasText: '{' }).first().waitFor();
    await page.locator('.graphiql-response .graphiql-spinner').waitFor({ state: 'detached' });
    if (values.screenshot) await page.screenshot({ path: values.screenshot });
    answer = await textOf(page, result);
    assert(!answer.includes('"errors"'), answer.slice(0, 500));
    assert(JSON.parse(answer).data, answer.slice(0, 500));
  });
  for (const text of values.expect) {
    await check(`the answer holds ${JSON.stringify(text)}`, async () => {
      assert(answer.includes(dense(text)), answer.slice(0, 500));
    });
  }

  await check('the examples are listed', async () => {
    await page.getByRole('button', { name: 'Show Examples' }).click();
    await page.locator('.examples-list button').first().waitFor();
    const listed = await page.locator('.examples-list strong').allTextContents();
    const wanted = examples.map(({ name }) => name);
    assert(listed.join() === wanted.join(), `listed are ${listed}, served are ${wanted}`);
  });
  await check('an example opens in a tab of its own', async () => {
    const example = examples.at(-1);
    const tabs = await page.locator('.graphiql-tab').count();
    await page.locator('.examples-list button').last().click();
    await waitForDocument(page, query, example.query);
    assert((await page.locator('.graphiql-tab').count()) === tabs + 1, 'there is no new tab');
  });

  await check('no request went to a foreign host', async () => assert(foreign.length === 0, foreign.join(', ')));
  await check('the browser had nothing to complain about', async () =>
    assert(complaints.length === 0, complaints.join('; ')),
  );
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}

console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
