// Apollo Server, standalone: the rows of data.mjs at every path, a video's persona through a DataLoader a request.

import './production.mjs';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import DataLoader from 'dataloader';
import { personasById, resolvers, typeDefs } from './data.mjs';
import { host, port, ready } from './serving.mjs';

const server = new ApolloServer({
  typeDefs,
  resolvers: {
    ...resolvers,
    Video: {
      persona: ({ personaId }, _, { personas }) => personas.load(personaId),
    },
  },
  introspection: false,
  nodeEnv: 'production',
  stopOnTerminationSignals: false,
});

const { url } = await startStandaloneServer(server, {
  context: async () => ({ personas: new DataLoader(personasById) }),
  listen: { host, port },
});
ready(new URL(url).port);
