// How GraphiQL is bundled: all it needs becomes a file of ours, so that the page asks no foreign host for anything.
import { defineConfig } from 'vite';

export default defineConfig({
  // The server hands the files out under this path; see src/http/graphiql.rs.
  base: '/graphiql/',
  build: {
    // Cargo's build script points the output into its own folder, which vite would otherwise refuse to clear.
    emptyOutDir: true,
    // Most of the page is Monaco, an editor that cannot be cut much smaller.
    chunkSizeWarningLimit: 4096,
    reportCompressedSize: false,
    rolldownOptions: {
      // Libraries mark their modules "use client" for servers that render React, which means nothing here.
      onwarn: (warning, log) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || log(warning),
    },
  },
  // The workers of Monaco load parts of themselves on demand, which only module workers can do.
  worker: { format: 'es' },
});
