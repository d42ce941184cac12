//! The widget in Chromium, inside a page that acts on `cwdb-action` as CloudWatch documents it.

use super::support::{Dashboard, picture};
use integration_tests::World;
use integration_tests::browser::Browser;
use lab::logs::now;
use lab::servers::postgres::Options;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::spawn_blocking;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The contrast of the text that has the least, against what is behind it (WCAG 2.2, 1.4.3), in hundredths.
const LEAST_CONTRAST: &str = "(() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => { for (let e = element; e; e = e.parentElement) {
    const colour = rgb(getComputedStyle(e).backgroundColor); if (colour.length === 3 || colour[3] > 0) return colour; }
    return [255, 255, 255]; };
  let least = 2100;
  for (const element of document.querySelectorAll('.lockstep *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || ['STYLE', 'CWDB-ACTION'].includes(element.tagName)) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    least = Math.min(least, Math.round(100 * (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
  }
  return least;
})()";

fn show(browser: &mut Browser, url: &str) {
    browser.open("about:blank#");
    browser.open(url);
    browser.wait("window.shown === true");
}

/// With the keyboard alone: look at the details, and begin a rotation.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_a_keyboard_reads_the_details_and_begins_a_rotation() {
    let world = World::with(Options::default(), |function| function.env("ALLOW_ROTATE_NOW", "true")).await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let before = secret.version("AWSCURRENT").await;
    let dashboard = Dashboard::of(&world.lab).await;
    let url = dashboard.widget(world.lab.function_arn(), json!({}), json!({}));
    let arn = secret.arn.clone();
    spawn_blocking(move || {
        let mut browser = Browser::start(1280, 700);
        show(&mut browser, &url);
        let told = browser.read_aloud();
        let has = |role: &str, name: &str| told.iter().any(|(its, said)| its == role && said.contains(name));
        for (role, name) in [("heading", "Rotations"), ("columnheader", "Last outcome"), ("rowheader", "test/"), ("cell", "In time")] {
            assert!(has(role, name), "{role} {name} is not in {told:?}");
        }
        for name in ["Details: test/", "History: test/", "Rotate now: test/"] {
            assert!(has("button", name), "{name} is not in {told:?}");
        }
        let focused = |browser: &mut Browser| browser.value("document.activeElement.textContent");
        browser.press("Tab");
        assert_eq!(focused(&mut browser), "Details");
        browser.press("Enter");
        browser.wait("document.getElementById('popup').open");
        let details = browser.value("document.getElementById('answer').innerText");
        assert!(details.as_str().expect("text").contains("healthy: the current credential works"), "{details}");
        browser.value("document.getElementById('popup').close()");
        for expected in ["History", "Rotate now"] {
            browser.press("Tab");
            assert_eq!(focused(&mut browser), expected);
        }
        browser.press(" ");
        browser.wait("document.getElementById('confirm').open");
        assert_eq!(browser.value("calls.length"), 2, "nothing is asked for before the confirmation");
        browser.value("document.getElementById('no').click()");
        browser.press(" ");
        browser.wait("document.getElementById('confirm').open");
        let question = browser.value("document.getElementById('question').textContent");
        assert!(question.as_str().expect("text").contains("replaced by a new one"), "{question}");
        browser.value("document.getElementById('yes').click()");
        browser.wait("document.getElementById('popup').open && document.getElementById('answer').innerText.includes('has begun')");
        let sent = browser.value("calls.map(call => call.payload)");
        assert_eq!(sent.as_array().expect("calls").last(), Some(&json!({"Step": "rotateNow", "SecretId": arn})), "{sent}");
        assert!(browser.events.is_empty(), "{:?}", browser.events);
    })
    .await
    .expect("the browser's part");
    secret.settled().await;
    assert_ne!(secret.version("AWSCURRENT").await, before, "the rotation that was begun from the page");
}

/// A secret with a password that the server refuses, so that its test fails.
async fn stored(world: &World, name: &str, user: &str, rules: Value) -> String {
    let value = world.document(user, "a password that nobody may see").to_string();
    let arn = world.lab.create_secret(name, &value).await.expect("the name is allowed");
    let request = json!({"SecretId": arn, "RotationLambdaARN": world.lab.function_arn(), "RotationRules": rules,
        "RotateImmediately": false});
    world.lab.call("RotateSecret", request).await.expect("it is attached");
    arn
}

/// Names, users and log lines that strangers choose, in a page of 200 secrets: text stays text, in both themes and at 400 px.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_secrets_with_hostile_names_are_only_text() {
    let world = World::with(Options::default(), |function| {
        function.env("ALLOW_ROTATE_NOW", "true").clock_behind(40 * DAY).memory(256)
    })
    .await;
    let users = [
        "<script>alert(1)</script>",
        "</td></tr></table></div><h1>gone</h1>",
        "<svg/onload'alert(2)'>",
        "\u{202e}resu",
        "\"'><iframe>",
        "&lt;b&gt;",
    ];
    let mut arns = Vec::new();
    for number in 0..200 {
        let name = match number {
            0 => "=1+1@a".to_owned(),
            1 => "n".repeat(500),
            n => format!("app/{n:03}"),
        };
        // A fifth of them is overdue by the function's clock.
        let days = if number % 5 == 0 { 30 } else { 300 };
        let user = users.get(number).unwrap_or(&"app");
        arns.push(stored(&world, &name, user, json!({"AutomaticallyAfterDays": days})).await);
        // A dozen of tests at a time.
        if arns.len() == 12 || number == 199 {
            for arn in arns.drain(..) {
                world.lab.service().wait_rotation(&arn).await;
            }
        }
    }
    for arn in ["<img src=x onerror=alert(3)>", "\"><script>alert(4)</script>"] {
        let line =
            json!({"audit": "rotation", "outcome": "failed", "secret": arn, "code": arn, "step": arn, "version": arn});
        world.lab.logs().write("lockstep-postgres", now(), &line.to_string());
    }
    let dashboard = Dashboard::of(&world.lab).await;
    let hostile = "\"><img src=x onerror=alert(5)>";
    let context = |theme: &str| {
        json!({"theme": theme, "locale": hostile, "title": hostile, "dashboardName": hostile, "forms": {"all": {"a": hostile}},
            "timezone": {"label": hostile, "offsetISO": "+05:30"}})
    };
    let arn = world.lab.function_arn();
    let [light, dark] = ["light", "dark"].map(|theme| dashboard.widget(arn, json!({"x": hostile}), context(theme)));
    spawn_blocking(move || {
        let mut browser = Browser::start(1280, 800);
        for (url, theme) in [(&light, "light"), (&dark, "dark")] {
            browser.resize(1280, 800);
            show(&mut browser, url);
            assert_eq!(browser.value("document.querySelectorAll('#widget table:first-of-type tbody tr').length"), 200);
            let strange =
                "document.querySelectorAll('#widget :is(script,img,iframe,svg,h1,object,embed,link,form)').length";
            assert_eq!(browser.value(strange), 0);
            let handlers = "[...document.querySelectorAll('#widget *')].filter(e => [...e.attributes].some(a => \
                            a.name.startsWith('on') || /javascript:/i.test(a.value))).length";
            assert_eq!(browser.value(handlers), 0);
            let text = browser.value("document.getElementById('widget').innerText");
            let text = text.as_str().expect("text");
            for shown in [
                "<script>alert(1)</script>",
                "</td></tr></table></div><h1>gone</h1>",
                "\u{fffd}resu",
                "=1+1@a",
                "+05:30",
            ] {
                assert!(text.contains(shown), "{shown} is not shown");
            }
            assert!(!text.contains("a password that nobody may see") && !text.contains("onerror"), "{text}");
            assert!(
                text.contains("200 secrets, 40 late, 160 failed, 0 in time"),
                "{}",
                text.get(..300).unwrap_or(text)
            );
            let contrast = browser.value(LEAST_CONTRAST).as_u64().expect("a number");
            assert!(contrast >= 450, "{theme}: text has a contrast of {contrast} hundredths");
            if let Some(file) = picture(&format!("page-hostile-{theme}")) {
                browser.picture(&file, false);
            }
            browser.resize(400, 800);
            let wide =
                browser.value("[document.documentElement.scrollWidth, document.getElementById('widget').scrollWidth]");
            assert_eq!(wide, json!([400, 400]), "{theme}: nothing is beside the screen");
            let roles = browser.read_aloud().iter().filter(|(role, _)| role == "rowheader").count();
            assert_eq!(roles, 200, "a table stays a table for who listens");
            if let Some(file) = picture(&format!("page-narrow-{theme}")) {
                browser.picture(&file, false);
            }
        }
        assert!(browser.events.is_empty(), "{:?}", browser.events);
    })
    .await
    .expect("the browser's part");
}

/// One secret and several, all healthy and not: pictures of these are in the documentation.
#[tokio::test(flavor = "multi_thread")]
async fn healthy_secrets_are_told_from_those_that_need_somebody() {
    let sizes: &[usize] = if picture("").is_some() { &[1, 20, 200] } else { &[1, 4] };
    for &size in sizes {
        let world = World::with(Options::default(), |function| function.env("ALLOW_ROTATE_NOW", "true")).await;
        for number in 0..size {
            let value = world.user(&format!("app_{number:03}")).await.at("AWSCURRENT").await.to_string();
            let name = format!("shop/{}/database-{number:03}", ["orders", "billing", "search", "reports"][number % 4]);
            let arn = world.lab.create_secret(&name, &value).await.expect("a secret");
            let secret = world.known(&arn);
            secret.rotated().await;
            secret.attached_on(json!({"AutomaticallyAfterDays": 30})).await;
        }
        let dashboard = Dashboard::of(&world.lab).await;
        let [light, dark] = ["light", "dark"]
            .map(|theme| dashboard.widget(world.lab.function_arn(), json!({}), json!({"theme": theme})));
        let url = light.clone();
        let healthy = move || {
            let mut browser = Browser::start(1280, 620);
            show(&mut browser, &url);
            let text = browser.value("document.querySelector('.lockstep > p').innerText");
            let words = format!("{size} secret{}, {size} in time", if size == 1 { "" } else { "s" });
            assert_eq!(text, words.as_str());
            assert_eq!(browser.value("document.querySelectorAll('tr.in-time').length"), size);
            if let Some(file) = picture(&format!("page-{size}-healthy")) {
                browser.picture(&file, false);
            }
        };
        spawn_blocking(healthy).await.expect("the browser's part");
        if size == 1 {
            continue;
        }
        for number in 0..size / 4 {
            let name = format!("shop/orders/database-{:03}", number * 4);
            if number % 2 == 0 {
                world.sql(&format!("ALTER ROLE app_{:03} NOLOGIN", number * 4)).await;
                world.known(&name).refused().await;
            } else {
                let request = json!({"SecretId": name});
                world.lab.call("CancelRotateSecret", request).await.expect("rotation is off");
            }
        }
        let sick = move || {
            let mut browser = Browser::start(1280, 620);
            for (url, theme) in [(&light, "light"), (&dark, "dark")] {
                show(&mut browser, url);
                assert!(browser.value("document.querySelectorAll('tr.failed').length").as_u64() > Some(0));
                let first = browser.value("document.querySelector('tbody tr').innerText");
                assert!(first.as_str().expect("text").contains("login-forbidden"), "{first}");
                if let Some(file) = picture(&format!("page-{size}-{theme}")) {
                    browser.picture(&file, false);
                }
            }
        };
        spawn_blocking(sick).await.expect("the browser's part");
    }
}
