//! A dashboard that shows what a function of the lab answers.

use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use lab::Lab;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A page that acts on `cwdb-action` as CloudWatch documents it. Dropping it ends it.
pub(crate) struct Dashboard {
    url: String,
    task: JoinHandle<()>,
}

impl Dashboard {
    /// A dashboard over the functions of this lab.
    pub(crate) async fn of(lab: &Lab) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/", get(|| async { Html(include_str!("host.html")) }))
            .route("/invoke/{function}", post(invoke))
            .with_state(lab.url());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, task }
    }

    /// The address of a widget of this function, with these parameters and this in its context.
    pub(crate) fn widget(&self, function: &str, params: Value, context: Value) -> String {
        let settings = json!({"function": function, "params": params, "context": context}).to_string();
        let mut encoded = String::new();
        for byte in settings.bytes() {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        format!("{}/#{encoded}", self.url)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn invoke(State(lab): State<String>, Path(function): Path<String>, body: String) -> Json<Value> {
    let url = format!("{lab}/2015-03-31/functions/{function}/invocations");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    Json(client.post(url).body(body).send().await.expect("an answer").json().await.expect("JSON"))
}

/// Where pictures for the documentation go, if somebody asks for them by `LOCKSTEP_PICTURES`.
pub(crate) fn picture(name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("LOCKSTEP_PICTURES")?).join(format!("{name}.png")))
}
