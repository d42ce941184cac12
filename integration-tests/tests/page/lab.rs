//! The page of `cargo lab serve`: the same rows for a browser, and the steps of rotations.

use super::support::picture;
use integration_tests::World;
use integration_tests::browser::Browser;
use lab::servers::postgres::Options;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

#[tokio::test]
async fn programs_ask_by_status_health_and_ready() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let get = async |path: &str| client().get(format!("{}{path}", world.lab.url())).send().await.expect("an answer");
    assert_eq!(get("/").await.status(), 404, "a lab for tests has no page");
    world.lab.page().show(vec!["lockstep-postgres".to_owned()], world.lab.service());
    assert_eq!((get("/health").await.status().as_u16(), get("/ready").await.status().as_u16()), (200, 503));
    world.lab.page().ready();
    assert_eq!(get("/ready").await.status(), 200);
    let status: Value = get("/status").await.json().await.expect("JSON");
    assert_eq!((&status["served"], &status["secrets"][0]["user"]), (&json!(1), &json!("app")), "{status}");
    let report = get("/report.csv").await.text().await.expect("CSV");
    assert!(report.starts_with("name,arn,") && report.contains(&secret.arn), "{report}");
    // The page of a stranger whose name leads to this machine.
    let url = format!("{}/status", world.lab.url());
    let foreign = client().get(url).header("host", "evil.example").send().await.expect("an answer");
    assert_eq!(foreign.status(), 403);
    // A form of a stranger's page.
    let url = format!("{}/rotate", world.lab.url());
    let form = format!("function=lockstep-postgres&secret={}", secret.arn);
    let sent = client().post(url).header("content-type", "application/x-www-form-urlencoded");
    let sent = sent.header("origin", "http://evil.example").body(form).send().await.expect("an answer");
    assert_eq!(sent.status(), 403);
}

/// By mouse and page alone, without a script.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_begun_from_the_page_and_its_steps_are_drawn() {
    let world = World::with(Options::default(), |function| function.env("ALLOW_ROTATE_NOW", "true")).await;
    let secret = world.user("app").await;
    secret.attached().await;
    world.lab.page().show(vec!["lockstep-postgres".to_owned()], world.lab.service());
    let before = secret.version("AWSCURRENT").await;
    let url = format!("{}/", world.lab.url());
    spawn_blocking(move || {
        let mut browser = Browser::start(1100, 700);
        browser.open(&url);
        assert_eq!(browser.value("document.scripts.length"), 0);
        assert!(browser.value("document.body.innerText").as_str().expect("text").contains("never rotated"));
        browser.value("[...document.querySelectorAll('a')].find(a => a.textContent === 'Rotate now').click()");
        browser.wait("document.body.innerText.includes('Rotate now?')");
        browser.value("document.querySelector('form button').click()");
        let drawn =
            "[...document.querySelectorAll('svg[role=img]')].some(svg => svg.querySelectorAll('rect').length === 4)";
        browser
            .wait(&format!("location.pathname === '/' && {drawn} && document.body.innerText.includes(': succeeded')"));
        let labels = browser.value("document.querySelector('svg').getAttribute('aria-label')");
        for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
            assert!(labels.as_str().expect("a label").contains(&format!("{step} ")), "{labels}");
        }
        for dark in [false, true] {
            browser.prefer_dark(dark);
            let paper = browser.value("getComputedStyle(document.querySelector('.lockstep')).backgroundColor");
            assert_eq!(paper, if dark { "rgb(22, 30, 45)" } else { "rgb(255, 255, 255)" });
        }
        browser.prefer_dark(false);
        if let Some(file) = picture("page-lab") {
            browser.picture(&file, true);
        }
        browser.value("[...document.querySelectorAll('a')].find(a => a.textContent === 'History').click()");
        browser.wait("document.body.innerText.includes('Replaced by')");
    })
    .await
    .expect("the browser's part");
    assert_ne!(secret.version("AWSCURRENT").await, before);
}
