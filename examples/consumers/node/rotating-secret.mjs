// A secret that rotates, for Node: each new connection is opened with a password that works.
// Copy what you need; docs/consumers.md explains it.

import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { setTimeout as pause } from "node:timers/promises";

/** The newest document of a secret. It is read again after `ttl` milliseconds, and when a server has refused it. */
export class RotatingSecret {
  #id;
  #ttl;
  #client;
  #document;
  #readAt = -Infinity;
  #reading;
  #searching;

  constructor(id, { ttl = 60_000, client = new SecretsManagerClient() } = {}) {
    this.#id = id;
    this.#ttl = ttl;
    this.#client = client;
  }

  /** What was read last. A pool that makes connections by itself uses this. */
  get latest() {
    return this.#document;
  }

  /** The document, at most `ttl` old. While Secrets Manager cannot be reached, the last one goes on. */
  async current() {
    if (performance.now() - this.#readAt < this.#ttl) return this.#document;
    this.#reading ??= this.#refresh().finally(() => (this.#reading = undefined));
    await this.#reading;
    return this.#document;
  }

  async #refresh() {
    try {
      this.#document = await this.#read("AWSCURRENT");
    } catch (error) {
      if (!this.#document) throw error;
    }
    this.#readAt = performance.now();
  }

  /**
   * Opens a connection: `open` uses `latest`, and `isRefused` tells whether its error says that the password is wrong. Any other error
   * is thrown as it is: a server that cannot be reached is no reason to try another password.
   */
  async connect(open, isRefused, patience = 30_000) {
    const before = await this.current();
    try {
      return await open();
    } catch (error) {
      if (!isRefused(error)) throw error;
    }
    // One caller looks for the password. The others then take what it found.
    while (this.#searching) await this.#searching.catch(() => {});
    if (this.#document !== before) return this.connect(open, isRefused, patience);
    const search = this.#search(open, isRefused, before, performance.now() + patience);
    this.#searching = search.then(() => {}).finally(() => (this.#searching = undefined));
    this.#searching.catch(() => {});
    return search;
  }

  async #search(open, isRefused, refused, ends) {
    // Servers count refused logins, so no document is tried twice.
    const tried = new Set([JSON.stringify(refused)]);
    for (let wait = 100; ; wait = Math.min(2 * wait, 2_000)) {
      // Between setSecret and finishSecret, the server takes the password of AWSPENDING.
      for (const label of ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]) {
        const document = await this.#read(label);
        if (!document || tried.has(JSON.stringify(document))) continue;
        tried.add(JSON.stringify(document));
        this.#document = document;
        this.#readAt = performance.now();
        try {
          return await open();
        } catch (error) {
          if (!isRefused(error) || performance.now() > ends) throw error;
        }
      }
      if (performance.now() > ends) throw new Error(`no version of ${this.#id} opens the database`);
      await pause(wait);
    }
  }

  async #read(label) {
    try {
      const answer = await this.#client.send(new GetSecretValueCommand({ SecretId: this.#id, VersionStage: label }));
      return JSON.parse(answer.SecretString);
    } catch (error) {
      // A version without a value, or no such label: there is no AWSPENDING between two rotations.
      if (label !== "AWSCURRENT" && error.name === "ResourceNotFoundException") return undefined;
      throw error;
    }
  }
}
