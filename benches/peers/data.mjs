// The schema and the rows in memory that Mercurius and Apollo both serve: 100 personas with 100 videos each, in the
// shape, and with ids of the length, of Chimera's own. Rows are as a store gives them: a video holds the id of its
// persona, and the way from one to the other is each server's own.

export const typeDefs = `
  type Query {
    personas(first: Int!): PersonaConnection!
    videos(first: Int!): VideoConnection!
  }

  type PersonaConnection {
    nodes: [Persona!]!
  }

  type Persona {
    id: ID!
    handle: String!
    name: String!
    videos(first: Int!): VideoConnection!
  }

  type VideoConnection {
    nodes: [Video!]!
  }

  type Video {
    id: ID!
    title: String!
    status: String!
    persona: Persona!
  }
`;

const PERSONAS = 100;
const VIDEOS_EACH = 100;
const STATUSES = ['QUEUED', 'RENDERING', 'READY', 'PUBLISHED', 'FAILED'];

const id = (kind, number) => `${kind}_${number.toString(16).padStart(32, '0')}`;
const range = (length) => Array.from({ length }, (_, number) => number);

const personas = range(PERSONAS).map((number) => ({
  id: id('persona', number),
  handle: `persona-${number}`,
  name: `Persona ${number}`,
}));

// A page of all videos goes round the personas, so that the first hundred have a hundred different ones.
const videos = range(PERSONAS * VIDEOS_EACH).map((number) => ({
  id: id('video', number),
  title: `Video ${number}`,
  status: STATUSES[number % STATUSES.length],
  personaId: personas[number % PERSONAS].id,
}));

const personaById = new Map(personas.map((persona) => [persona.id, persona]));
const videosOf = new Map(personas.map((persona) => [persona.id, []]));
for (const video of videos) videosOf.get(video.personaId).push(video);

/** All but `Video.persona`. */
export const resolvers = {
  Query: {
    personas: (_, { first }) => ({ nodes: personas.slice(0, first) }),
    videos: (_, { first }) => ({ nodes: videos.slice(0, first) }),
  },
  Persona: {
    videos: ({ id }, { first }) => ({ nodes: videosOf.get(id).slice(0, first) }),
  },
};

/** The one call of a loader: personas in the order of their ids. */
export async function personasById(ids) {
  return ids.map((id) => personaById.get(id));
}
