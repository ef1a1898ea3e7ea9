// The example documents of the server, as a panel of GraphiQL: a click opens one in a tab of its own.
import { useGraphiQL, useGraphiQLActions } from '@graphiql/react';

/** Gets the examples, the one to open first in front. Without them GraphiQL still works, so a failure is only logged. */
export async function fetchExamples() {
  try {
    const response = await fetch('/graphiql/examples.json');
    if (!response.ok) throw new Error(`status ${response.status}`);
    return await response.json();
  } catch (error) {
    console.warn('the example documents could not be loaded', error);
    return [];
  }
}

/** Builds the plugin that lists the examples. */
export function examplesPlugin(examples) {
  return {
    title: 'Examples',
    icon: ExamplesIcon,
    content: () => <ExamplesPanel examples={examples} />,
  };
}

function ExamplesPanel({ examples }) {
  const { addTab } = useGraphiQLActions();
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  const headerEditor = useGraphiQL((state) => state.headerEditor);

  // GraphiQL offers no "add a tab with this text": the new tab is the active one, so its editors are filled. Headers
  // belong to a tab as well, and are taken along so that a token need not be given again.
  const open = ({ query, variables }) => {
    const headers = headerEditor?.getValue() ?? '';
    addTab();
    headerEditor?.setValue(headers);
    queryEditor?.setValue(query);
    variableEditor?.setValue(variables);
  };

  return (
    <section aria-label="Examples">
      <div className="examples-title">Examples</div>
      {examples.length === 0 && <p>The server offers no examples.</p>}
      <ul className="examples-list">
        {examples.map((example) => (
          <li key={example.name}>
            <button type="button" className="graphiql-un-styled" onClick={() => open(example)}>
              <strong>{example.name}</strong>
              <span>{summary(example.query)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The comment a document opens with, without its `#` signs. */
function summary(query) {
  const lines = query.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('#'));
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^#+\s*/, ''))
    .join(' ');
}

function ExamplesIcon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinejoin="round" aria-hidden="true">
      <path d="M12 6C10 4.5 7 4 3 4v15c4 0 7 .5 9 2 2-1.5 5-2 9-2V4c-4 0-7 .5-9 2Zm0 0v15" />
    </svg>
  );
}
