//! The built-in descriptions, each against a double of its issuer's API that was written from the same documentation, and where
//! that can be had, against the server itself (`live`).
//!
//! A double takes nothing that the documentation does not allow, and answers as it says: so a description that is wrong about a
//! path, a header, a field or a status fails here. What the documentation leaves open is said beside the description, under
//! `unchecked`, and beside the double's answer.

mod support;

mod algolia;
mod auth0;
mod cloudflare;
mod confluent;
mod consul;
mod datadog;
mod elasticsearch;
mod fastly;
mod gitea;
mod gitlab;
mod grafana;
mod launchdarkly;
mod live;
mod mongodb_atlas;
mod newrelic;
mod okta;
mod openai_admin;
mod sendgrid;
mod sources;
mod twilio;
