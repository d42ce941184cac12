// A secret that rotates, for Node: each new connection is opened with a password that works.
// Copy what you need; docs/consumers.md explains it.

import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { setTimeout as pause } from "node:timers/promises";

/** After a search that found nothing, nobody tries a login for so many milliseconds: servers count refused logins. */
const DEAD = 20_000;

/** The newest document of a secret. It is read again after `ttl` milliseconds, and when a server has refused it. */
export class RotatingSecret {
  #id;
  #ttl;
  #client;
  #document;
  #readAt = -Infinity;
  #reading;
  #searching;
  #deadUntil = -Infinity;

  constructor(id, { ttl = 60_000, client = new SecretsManagerClient() } = {}) {
    this.#id = id;
    this.#ttl = ttl;
    this.#client = client;
  }

  /** What is in use. A pool that makes connections by itself uses this. */
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
   * Takes a connection: `open` takes it from a pool, whose new connections use `latest`. If `isRefused` says that its error means a wrong
   * password, `prove` logs in once with the document that it gets. Any other error is thrown as it is: a server that cannot be reached
   * is no reason to try another password.
   */
  async connect(open, prove, isRefused, patience = 30_000) {
    if (performance.now() < this.#deadUntil) throw this.#nothingWorks();
    let before;
    do {
      before = await this.current();
      try {
        return await open();
      } catch (error) {
        if (!isRefused(error)) throw error;
      }
    } while (this.#document !== before);
    // One caller looks for the password. The others then take what it found, or fail as it did.
    this.#searching ??= this.#search(prove, isRefused, before, performance.now() + patience).finally(
      () => (this.#searching = undefined),
    );
    await this.#searching;
    return open();
  }

  async #search(prove, isRefused, refused, ends) {
    // No document is tried twice.
    const tried = new Set([JSON.stringify(refused)]);
    let trouble;
    for (let wait = 100; ; wait = Math.min(2 * wait, 2_000)) {
      // Between setSecret and finishSecret, the server takes the password of AWSPENDING.
      for (const label of ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]) {
        let document;
        try {
          document = await this.#read(label);
        } catch (error) {
          // Secrets Manager may answer again before the time is over.
          trouble = error;
          continue;
        }
        if (!document || tried.has(JSON.stringify(document))) continue;
        tried.add(JSON.stringify(document));
        try {
          await prove(document);
        } catch (error) {
          if (!isRefused(error)) throw error;
          continue;
        }
        this.#document = document;
        this.#readAt = performance.now();
        return;
      }
      if (performance.now() > ends) {
        this.#deadUntil = performance.now() + DEAD;
        throw this.#nothingWorks(trouble);
      }
      await pause(wait);
    }
  }

  #nothingWorks(cause) {
    return new Error(`no version of ${this.#id} opens the database`, { cause });
  }

  async #read(label) {
    let answer;
    try {
      answer = await this.#client.send(new GetSecretValueCommand({ SecretId: this.#id, VersionStage: label }));
    } catch (error) {
      // A version without a value, or no such label: there is no AWSPENDING between two rotations.
      if (label !== "AWSCURRENT" && error.name === "ResourceNotFoundException") return undefined;
      throw error;
    }
    try {
      return JSON.parse(answer.SecretString);
    } catch {
      // The original error has the text.
      throw new Error(`${label} of ${this.#id} is not JSON`);
    }
  }
}
