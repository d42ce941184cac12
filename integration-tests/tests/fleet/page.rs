//! The fleet's page in Chromium: a plan, a run and a stop.

use super::support::{POSTGRES, fleet, versions};
use crate::page::support::{Dashboard, picture};
use integration_tests::browser::Browser;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Clicks a button of the widget, or of the window over it.
fn click(browser: &mut Browser, name: &str) {
    let found = format!(
        "[...document.querySelectorAll('main button, #answer button')].find(b => b.textContent === {})",
        json!(name)
    );
    assert_eq!(browser.value(&format!("!!{found}")), true, "there is no button {name}");
    browser.value(&format!("{found}.click()"));
}

fn fill(browser: &mut Browser, field: &str, text: &str) {
    browser.value(&format!("document.querySelector('#widget [name={field}]').value = {}", json!(text)));
}

fn confirm(browser: &mut Browser, answer: &str) -> String {
    browser.wait("document.getElementById('confirm').open");
    let question = browser.value("document.getElementById('question').textContent");
    browser.value(&format!("document.getElementById('{answer}').click()"));
    question.as_str().expect("a question").to_owned()
}

fn said(text: &str) -> String {
    format!("document.getElementById('widget').innerText.includes({})", json!(text))
}

/// The default pause between two waves is a minute, so the run is there to be stopped after its canary.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_planned_started_and_stopped_from_the_page() {
    let fleet = fleet(3, &[POSTGRES], 50, &[("ALLOW_PAGE_RUNS", "true")]).await;
    fleet.lab().create_secret("<img src=x onerror=alert(1)>-other", "a secret that no function rotates").await.ok();
    let dashboard = Dashboard::of(fleet.lab()).await;
    let url = dashboard.widget(fleet.page(), json!({}), json!({}));
    let (mut browser, planned) = spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&url);
        browser.wait("window.shown === true");
        let told = browser.read_aloud();
        let has = |role: &str, name: &str| told.iter().any(|(its, said)| its == role && said.contains(name));
        for (role, name) in [("heading", "Fleet"), ("textbox", "Names"), ("textbox", "Tags"), ("combobox", "What is done"), ("button", "Plan")] {
            assert!(has(role, name), "{role} {name} is not in {told:?}");
        }
        // A mistake is told.
        fill(&mut browser, "names", "a*b");
        click(&mut browser, "Plan");
        browser.wait(&said("an asterisk at the end alone"));
        browser.value("refresh()");
        browser.wait("window.shown === true");

        fill(&mut browser, "names", "load/*");
        click(&mut browser, "Plan");
        browser.wait(&said("Secrets: 3"));
        assert_eq!(browser.value(&said("Secrets in each wave: 1, 2")), true);
        let planned = browser.value("document.querySelector('#widget tbody th').textContent");
        if let Some(file) = picture("page-fleet-plan") {
            browser.picture(&file, true);
        }
        // Without a reason nothing is started, and the plan stays.
        click(&mut browser, "Run");
        let question = confirm(&mut browser, "yes");
        assert!(question.ends_with("Secrets: 3."), "{question}");
        browser.wait("document.getElementById('popup').open && document.getElementById('answer').innerText.includes('the reason, for the record')");
        browser.value("document.getElementById('popup').close()");
        fill(&mut browser, "why", "a test of the <b>page</b>");
        fill(&mut browser, "askedBy", "anna");
        let calls = browser.value("calls.length");
        click(&mut browser, "Run");
        confirm(&mut browser, "no");
        assert_eq!(browser.value("calls.length"), calls, "nothing is asked for before the confirmation");
        click(&mut browser, "Run");
        confirm(&mut browser, "yes");
        browser.wait("document.getElementById('popup').open && document.getElementById('answer').innerText.includes('was started')");
        browser.value("document.getElementById('popup').close()");
        // The same again starts nothing a second time.
        browser.value("document.getElementById('answer').innerHTML = ''");
        click(&mut browser, "Run");
        confirm(&mut browser, "yes");
        browser.wait("document.getElementById('popup').open && document.getElementById('answer').innerText.includes('page-')");
        browser.value("document.getElementById('popup').close(); document.getElementById('answer').innerHTML = ''");

        (browser, planned)
    })
    .await
    .expect("the browser's part");
    // The canary is the secret that the plan named first.
    for _ in 0..600 {
        if versions(&fleet, planned.as_str().expect("a name")).await > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let run = spawn_blocking(move || {
        click(&mut browser, "Back");
        browser.wait(&said("a test of the <b>page</b>"));
        assert_eq!(browser.value("document.querySelectorAll('#widget tbody tr').length"), 1, "one run");
        assert_eq!(browser.value("document.querySelectorAll('#widget :is(b,img,script)').length"), 0);
        assert_eq!(browser.value(&said("Running")), true);
        click(&mut browser, "Stop");
        let question = confirm(&mut browser, "yes");
        browser.wait(&said("The stop flag stops the run page-"));
        assert_eq!(browser.value(&said("Let runs begin")), true);
        if let Some(file) = picture("page-fleet-runs") {
            browser.picture(&file, true);
        }
        browser.resize(400, 800);
        let wide =
            browser.value("[document.documentElement.scrollWidth, document.getElementById('widget').scrollWidth]");
        assert_eq!(wide, json!([400, 400]), "nothing is beside the screen");
        assert!(browser.events.is_empty(), "{:?}", browser.events);
        question.rsplit(' ').next().expect("a name").trim_end_matches('?').to_owned()
    })
    .await
    .expect("the browser's part");
    assert_eq!(fleet.flagged(), Some(run.clone()), "the flag stops this run");
    // No other has begun.
    let mut rotated = Vec::new();
    for (secret, _) in fleet.secrets() {
        if versions(&fleet, secret).await > 1 {
            rotated.push(secret.to_owned());
        }
    }
    assert!(rotated.len() == 1 && rotated[0].contains(planned.as_str().expect("a name")), "{rotated:?} {planned}");
    assert!(fleet.printed().contains("\\\"event\\\":\\\"asked\\\"") && fleet.printed().contains("anna"), "the record");

    // The same for programs. A second run is stopped with all, and the flag is taken away.
    let stopped = fleet.ask_page(&json!({"Do": "stop", "Run": "another"})).await.expect("an answer");
    assert_eq!((&stopped["flag"], &stopped["runs"][0]["run"]), (&json!("stop"), &json!(run)), "{stopped}");
    let gone = fleet.ask_page(&json!({"Do": "go"})).await.expect("an answer");
    assert_eq!(gone["flag"], Value::from("go"));
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_deployers_consent_the_page_plans_and_has_no_other_button() {
    let fleet = fleet(1, &[POSTGRES], 50, &[]).await;
    let dashboard = Dashboard::of(fleet.lab()).await;
    let url = dashboard.widget(fleet.page(), json!({}), json!({}));
    let buttons = spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&url);
        browser.wait("window.shown === true");
        click(&mut browser, "Plan");
        browser.wait(&said("Secrets: 1"));
        browser.value("[...document.querySelectorAll('#widget button')].map(b => b.textContent)")
    });
    assert_eq!(buttons.await.expect("the browser's part"), json!(["Back", "Plan"]));
    // Neither does it help to ask by hand.
    let order = json!({"name": "by-hand", "why": "a test", "select": {"names": ["*"]}});
    for asks in [json!({"Do": "run", "Order": order}), json!({"Do": "stop", "Run": "by-hand"})] {
        let refused = fleet.ask_page(&asks).await.expect_err("it is not allowed").to_string();
        assert!(refused.contains("page-runs-off") && refused.contains("AllowPageRuns"), "{refused}");
    }
    assert_eq!(fleet.flagged(), None);
    fleet.shutdown().await;
}
