// Drives examples/signing-keys/node: for each line of standard input it signs a token, and verifies all of them.
// It prints how many these are, and the id of the key that signed the last one.

import { decodeProtectedHeader } from "jose";
import { createInterface } from "node:readline";
import { Signer, Verifier } from "./tokens.mjs";

const settings = JSON.parse(process.argv[2]);

async function read() {
  const answer = await fetch(settings.secretsManager, {
    method: "POST",
    headers: { "X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1" },
    body: JSON.stringify({ SecretId: settings.secret }),
  });
  return (await answer.json()).SecretString;
}

const signer = new Signer(read);
const verifier = new Verifier(settings.jwks, settings.maxCache / 2, [settings.algorithm]);
const signed = [];
for await (const _ of createInterface({ input: process.stdin })) {
  signed.push(await signer.sign({ sub: "somebody" }, 60));
  for (const token of signed) if ((await verifier.verify(token)).sub !== "somebody") throw new Error("other claims");
  console.log(signed.length, decodeProtectedHeader(signed.at(-1)).kid);
}
const bad = [signer.sign({}, 1e9), verifier.verify(signed.at(-1).slice(0, -8) + "AAAAAAAA")];
console.log("refused", (await Promise.allSettled(bad)).filter(({ status }) => status === "rejected").length);
