// Queries all the time by one way of following a rotation, until standard input ends. Prints one JSON object then.
//
//     drive.mjs CLIENT EXAMPLES     with LOCKSTEP_SECRET, LOCKSTEP_CA and the variables of an AWS SDK

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const WORKERS = 3;
const PAUSE = 50;
const [client, examples] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(`${examples}/${file}`));

const { RotatingSecret } = await load("rotating-secret.mjs");
const secret = new RotatingSecret(process.env.LOCKSTEP_SECRET);
const { host, port } = await secret.current();
const ssl = { ca: readFileSync(process.env.LOCKSTEP_CA, "utf8") };

const CLIENTS = {
  pg: async () => {
    const { pool } = await load("with-pg.mjs");
    return pool(secret, { host, port, database: "postgres", ssl, max: WORKERS, maxLifetimeSeconds: 1 });
  },
  mysql2: async () => {
    const { pool } = await load("with-mysql2.mjs");
    return pool(secret, { host, port, ssl, connectionLimit: WORKERS });
  },
  // Powertools' parameters, as its guide has them: a value is kept for 5 seconds. A connection for each query.
  powertools: async () => {
    const require = createRequire(`${examples}/package.json`);
    const { getSecret } = require("@aws-lambda-powertools/parameters/secrets");
    const pg = require("pg");
    return {
      connect: async () => {
        const { username, password } = await getSecret(process.env.LOCKSTEP_SECRET, { transform: "json" });
        const client = new pg.Client({ host, port, database: "postgres", ssl, user: username, password });
        await client.connect();
        return { query: (text) => client.query(text), release: () => client.end() };
      },
      end: async () => {},
    };
  },
};

const pool = await CLIENTS[client]();
const count = { queries: 0, failed: 0, longestMs: 0, first: null };
let over = false;

async function work() {
  while (!over) {
    const began = performance.now();
    try {
      const connection = await pool.connect();
      try {
        await connection.query("SELECT 1");
      } finally {
        // Each query has a new connection with mysql2, whose pool has no limit to their age.
        client === "mysql2" ? connection.destroy() : connection.release();
      }
    } catch (error) {
      count.failed += 1;
      count.first ??= error.code ?? error.name;
    }
    count.queries += 1;
    count.longestMs = Math.max(count.longestMs, Math.round(performance.now() - began));
    await pause(PAUSE);
  }
}

const workers = Array.from({ length: WORKERS }, work);
console.log("ready");
for await (const _ of process.stdin);
over = true;
await Promise.all(workers);
await pool.end();
console.log(JSON.stringify(count));
