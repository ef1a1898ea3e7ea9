// What the servers have in common: where they listen, how they say so, and how they end.

/** Loopback only, on PORT or on any free port. */
export const host = '127.0.0.1';
export const port = Number(process.env.PORT ?? 0);

/** Says that the server answers at `port`, and lets SIGTERM end it at once, open connections or not. */
export function ready(port) {
  process.once('SIGTERM', () => process.exit(0));
  console.log(`listening ${port}`);
}
