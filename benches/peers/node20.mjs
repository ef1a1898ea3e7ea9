// What PostGraphile asks of Node 22 and Node 20 lacks, so that it runs on both: without it every query is an error.
// Imported before PostGraphile; on Node 22 it does nothing.

Promise.withResolvers ??= () => {
  let resolve;
  let reject;
  const promise = new Promise((one, other) => {
    resolve = one;
    reject = other;
  });
  return { promise, resolve, reject };
};
