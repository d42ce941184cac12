// pg's pool with a secret that rotates.

import pg from "pg";

/** PostgreSQL's SQLSTATE for a wrong password, and for a user that may not log in. */
const isRefused = (error) => error.code === "28P01" || error.code === "28000";

/** `options` are those of pg.Pool. With `maxLifetimeSeconds`, old connections end by themselves, never in the middle of a query. */
export function pool(secret, options) {
  class Client extends pg.Client {
    constructor(given) {
      super({ ...given, user: secret.latest.username, password: secret.latest.password });
    }
  }
  const made = new pg.Pool({ ...options, Client });
  return {
    /** A connection of the pool. Give it back with `release()`. */
    connect: () => secret.connect(() => made.connect(), isRefused),
    end: () => made.end(),
  };
}
