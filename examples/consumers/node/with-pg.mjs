// pg's pool with a secret that rotates.

import pg from "pg";

/** PostgreSQL's SQLSTATE for a wrong password, and for a user that may not log in. */
const isRefused = (error) => error.code === "28P01" || error.code === "28000";

/** `options` are those of pg.Pool. With `maxLifetimeSeconds`, old connections end by themselves, never in the middle of a query. */
export function pool(secret, options) {
  const credential = ({ username, password }) => ({ user: username, password });
  class Client extends pg.Client {
    constructor(given) {
      super({ ...given, ...credential(secret.latest) });
    }
  }
  const made = new pg.Pool({ ...options, Client });
  // An idle connection that the server ends is replaced. Without a listener, Node would end the process.
  made.on("error", () => {});
  const prove = async (document) => {
    const client = new pg.Client({ ...options, ...credential(document) });
    client.on("error", () => {});
    await client.connect();
    await client.end();
  };
  return {
    /** A connection of the pool. Give it back with `release()`. */
    connect: () => secret.connect(() => made.connect(), prove, isRefused),
    end: () => made.end(),
  };
}
