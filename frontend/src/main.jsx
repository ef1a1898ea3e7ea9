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

// Only a first visit sees the default tab; after that GraphiQL restores the tabs it has stored.
const defaultTabs = examples.slice(0, 1).map(({ query, variables }) => ({ query, variables }));

createRoot(document.getElementById('graphiql')).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={plugins}
    defaultTabs={defaultTabs.length > 0 ? defaultTabs : undefined}
    // Keeps the Authorization header over a reload. The visitor can switch it off in the settings.
    shouldPersistHeaders
    showPersistHeadersSettings
  />,
);
