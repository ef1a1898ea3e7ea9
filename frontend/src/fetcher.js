// The way to the server: queries and mutations by POST, subscriptions by WebSocket, both to the same origin.
import { createGraphiQLFetcher } from '@graphiql/toolkit';

// `/graphql` of this origin, with `ws:` for `http:` and `wss:` for `https:`.
const socketUrl = new URL('/graphql', window.location.href);
socketUrl.protocol = socketUrl.protocol.replace('http', 'ws');

// What the headers editor holds is added to each request, and is the payload of a WebSocket's `connection_init`.
const send = createGraphiQLFetcher({
  url: '/graphql',
  subscriptionUrl: socketUrl.href,
  headers: {
    // A header no plain form can send: the server takes it as proof that a script of this origin is asking.
    'x-requested-with': 'graphiql',
  },
});

/** After a reload GraphiQL asks for the schema before its headers editor is there; the stored headers go along then. */
export function fetcher(parameters, options) {
  const early = parameters.operationName === 'IntrospectionQuery' && !options?.headers;
  return send(parameters, early ? { ...options, headers: storedHeaders() } : options);
}

function storedHeaders() {
  try {
    return JSON.parse(localStorage.getItem('graphiql:headers') ?? '{}');
  } catch {
    // Half-typed text, or JSON with comments: asking without headers is the best that is left.
    return {};
  }
}
