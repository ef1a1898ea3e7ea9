// PostGraphile: the tables of the relational store in the database at DATABASE_URL, at /graphql, in its Amber preset with
// its simpler names. With CHIMERA_ORGANIZATION, each request runs in a transaction that sees the rows of that
// organisation, which is how PostgreSQL's row-level security lets Chimera see them; a superuser sees all rows anyway.

import './node20.mjs';
import './production.mjs';
import { createServer } from 'node:http';
import { PgSimplifyInflectionPreset } from '@graphile/simplify-inflection';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { host, port, ready } from './serving.mjs';

const connectionString = process.env.DATABASE_URL;
if (!connectionString) throw new Error('DATABASE_URL is not set');
const organization = process.env.CHIMERA_ORGANIZATION;
const pgSettings = organization && { 'chimera.organization': organization, 'chimera.system': 'off' };

const served = postgraphile({
  extends: [PostGraphileAmberPreset, PgSimplifyInflectionPreset],
  pgServices: [makePgService({ connectionString, schemas: ['public'], poolConfig: { max: 8 }, pubsub: false })],
  grafserv: { graphqlPath: '/graphql', graphiql: false, watch: false },
  grafast: { context: () => (pgSettings ? { pgSettings } : {}) },
});

const server = createServer();
server.on('error', (error) => {
  throw error;
});
await served.createServ(grafserv).addTo(server);
// The schema is made from the database before the first request may come.
await served.getSchema();
server.listen(port, host, () => ready(server.address().port));
