// Mercurius with its JIT: the rows of data.mjs at /graphql, a video's persona through a loader of its own kind.

import './production.mjs';
import fastify from 'fastify';
import mercurius from 'mercurius';
import { personasById, resolvers, typeDefs } from './data.mjs';
import { host, port, ready } from './serving.mjs';

const app = fastify({ logger: false });
app.register(mercurius, {
  schema: typeDefs,
  resolvers,
  loaders: {
    Video: {
      persona: (queries) => personasById(queries.map(({ obj }) => obj.personaId)),
    },
  },
  graphiql: false,
  jit: 1,
});

await app.listen({ host, port });
ready(app.server.address().port);
