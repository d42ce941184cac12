//! An issuer that there is not: its description, and its API.

/// The description.
pub(super) const DESCRIPTION: &str = r#"
issuer: acme
title: Acme
sources: [https://acme.example/docs]
unchecked: everything
strategy: create_revoke
lifetime: 60d
vars:
  of: {default: users, oneOf: [users, teams]}
  owner: {pattern: "[a-z]+"}
  scopes: {type: json}
  level: {type: integer}
http: {base: "https://api.acme.example/v1", headers: {X-Version: "7"}}
auth: {admin: {oauth2: {token: /token, clientId: "{{admin.id}}", clientSecret: "{{admin.secret}}", send: form}}, key: {bearer: "{{key.secret}}"}}
find:
  get: "/{{vars.of}}/{{vars.owner}}/keys"
  query: {limit: "100", order: asc, "page[size]": "5"}
  items: /data
  id: /id
  name: /attributes/name
  pages: {cursor: {from: /next, query: after}}
create:
  post: "/{{vars.of}}/{{vars.owner}}/keys"
  json: {name: "{{name}}", kind: api, scopes: "{{vars.scopes}}", level: "{{vars.level}}", owner: {id: "{{vars.owner}}"}}
  ok: {status: [201]}
  limit: {status: [409], where: {/error: too_many}}
  extract: {id: /id, secret: /key}
verify:
  get: /me
  works: {status: [200], where: {/active: true, /extra/anything: 1}}
  rejected: {status: [401]}
  identity: /id
revoke:
  - delete: "/{{vars.of}}/{{vars.owner}}/keys/{{key.id}}.json"
    done: {status: [204]}
"#;

/// The API in OpenAPI 3.1.
pub(super) const OPENAPI: &str = r##"
openapi: 3.1.0
info: {title: Acme, version: "1", description: Prose.}
servers: [{url: "https://api.acme.example/v1/", description: Prose.}]
paths:
  /token:
    post:
      requestBody:
        required: true
        content:
          application/x-www-form-urlencoded:
            schema: {$ref: "#/components/schemas/Grant"}
      responses: {"200": {description: ok, content: {application/json: {schema: {type: object, properties: {access_token: {type: string}}}}}}}
  /users/{owner}/keys: {$ref: "#/components/pathItems/Keys"}
  /teams/{owner}/keys: {$ref: "#/components/pathItems/Keys"}
  /{of}/{owner}/keys/{id}.json:
    delete:
      responses: {"204": {description: gone}}
  /me:
    get:
      summary: Prose.
      responses:
        2XX:
          description: ok
          content:
            application/json:
              schema:
                type: object
                required: [id]
                properties:
                  id: {type: [string, "null"]}
                  active: {type: boolean}
                  extra: {}
                  description: {type: string, description: Prose.}
components:
  pathItems:
    Keys:
      parameters: [{$ref: "#/components/parameters/Version"}]
      get:
        parameters:
          - {name: limit, in: query, schema: {type: integer}}
          - {name: order, in: query, required: true, schema: {type: string, enum: [asc, desc]}}
          - {name: after, in: query, schema: {type: string}}
          - {name: page, in: query, style: deepObject, schema: {type: object}}
        responses:
          "200":
            description: ok
            content:
              application/json:
                schema:
                  type: object
                  properties:
                    data: {type: array, items: {$ref: "#/components/schemas/Key"}}
                    next: {anyOf: [{type: string}, {type: "null"}]}
      post:
        requestBody:
          required: true
          content:
            application/json:
              schema:
                oneOf:
                  - type: object
                    required: [other]
                    properties: {other: {type: string}}
                  - $ref: "#/components/schemas/NewKey"
        responses:
          "201": {$ref: "#/components/responses/Key"}
          "409": {description: no, content: {application/json: {schema: {type: object, properties: {error: {type: string}}}}}}
  parameters:
    Version: {name: X-Version, in: header, required: true, schema: {type: string}}
  responses:
    Key:
      description: made
      content:
        application/json:
          schema:
            allOf:
              - {$ref: "#/components/schemas/Key"}
              - {type: object, properties: {key: {type: string}}}
  schemas:
    Grant:
      type: object
      required: [grant_type]
      properties: {grant_type: {type: string, enum: [client_credentials]}, client_id: {type: string}, client_secret: {type: string}}
    NewKey:
      type: object
      required: [name, kind, created]
      properties:
        name: {type: string}
        kind: {type: string, enum: [api, app]}
        level: {type: integer}
        scopes: {type: array, items: {type: string}}
        owner: {type: object, additionalProperties: {type: string}}
        created: {type: string, readOnly: true}
    Key:
      type: object
      properties:
        id: {type: string}
        attributes: {type: object, additionalProperties: false, properties: {name: {type: string}}}
        parent: {$ref: "#/components/schemas/Key"}
"##;

/// The same in Swagger 2.0. It has no objects in queries, no `oneOf`, and one schema for an answer.
pub(super) const SWAGGER: &str = r##"{
  "swagger": "2.0", "info": {"title": "Acme", "version": "1"}, "basePath": "/v1", "consumes": ["application/json"],
  "paths": {
    "/token": {"post": {
      "consumes": ["application/x-www-form-urlencoded"],
      "parameters": [
        {"name": "grant_type", "in": "formData", "required": true, "type": "string", "enum": ["client_credentials"]},
        {"name": "client_id", "in": "formData", "type": "string"}, {"name": "client_secret", "in": "formData", "type": "string"}],
      "responses": {"200": {"description": "", "schema": {"type": "object", "properties": {"access_token": {"type": "string"}}}}}}},
    "/users/{owner}/keys": {
      "get": {
        "parameters": [
          {"name": "limit", "in": "query", "type": "integer"}, {"name": "order", "in": "query", "type": "string", "enum": ["asc"]},
          {"name": "after", "in": "query", "type": "string"}, {"name": "page[size]", "in": "query", "type": "integer"}],
        "responses": {"200": {"description": "", "schema": {"type": "object", "properties": {
          "data": {"type": "array", "items": {"$ref": "#/definitions/Key"}}, "next": {"type": "string"}}}}}},
      "post": {
        "parameters": [{"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/NewKey"}}],
        "responses": {"201": {"$ref": "#/responses/Key"}, "409": {"description": ""}}}},
    "/teams/{owner}/keys": {
      "get": {
        "parameters": [
          {"name": "limit", "in": "query", "type": "integer"}, {"name": "order", "in": "query", "type": "string"},
          {"name": "after", "in": "query", "type": "string"}, {"name": "page[size]", "in": "query", "type": "integer"}],
        "responses": {"200": {"description": "", "schema": {"type": "object", "properties": {
          "data": {"type": "array", "items": {"$ref": "#/definitions/Key"}}, "next": {"type": "string"}}}}}},
      "post": {
        "parameters": [{"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/NewKey"}}],
        "responses": {"201": {"$ref": "#/responses/Key"}}}},
    "/users/{owner}/keys/{id}.json": {"delete": {"responses": {"204": {"description": ""}}}},
    "/teams/{owner}/keys/{id}.json": {"delete": {"responses": {"204": {"description": ""}}}},
    "/me": {"get": {"responses": {"200": {"description": "", "schema": {"$ref": "#/definitions/Key"}}}}}},
  "responses": {"Key": {"description": "", "schema": {"allOf": [
    {"$ref": "#/definitions/Key"}, {"type": "object", "properties": {"key": {"type": "string"}}}]}}},
  "definitions": {
    "Key": {"type": "object", "properties": {"id": {"type": "integer"}, "active": {"type": "boolean"}, "extra": {"type": "object"},
      "attributes": {"type": "object", "properties": {"name": {"type": "string"}}}}},
    "NewKey": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "kind": {"type": "string"},
      "level": {"type": "integer"}, "scopes": {"type": "array", "items": {"type": "string"}},
      "owner": {"type": "object", "properties": {"id": {"type": "string"}}}}}}
}"##;
