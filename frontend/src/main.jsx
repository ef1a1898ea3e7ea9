// The page under /graphiql: GraphiQL with its explorer, the server's example documents, and nothing from elsewhere.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { examplesPlugin, fetchExamples } from './examples.jsx';
import { fetcher } from './fetcher.js';

const examples = await fetchExamples();

// Plugins are compared by identity, so they are made once and not while rendering.
const plugins = [HISTORY_PLUGIN, explorerPlugin(), examplesPlugin(examples)];

// A first visit opens the first example; later ones find the tabs that GraphiQL has stored. The variables of a default
// tab reach the tab but not the editor (GraphiQL 5.4), so the editor gets them by a second way.
const firstVisit = localStorage.getItem('graphiql:tabState') === null;
const [first] = examples;

createRoot(document.getElementById('graphiql')).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={plugins}
    defaultTabs={first && [{ query: first.query, variables: first.variables }]}
    initialVariables={firstVisit ? first?.variables : undefined}
    // Keeps the Authorization header over a reload. The visitor can switch it off in the settings.
    shouldPersistHeaders
    showPersistHeadersSettings
  />,
);
