//! Ways to lose a credential or a user, and how a rotation finds its way back.

use super::one_user::Users;
use integration_tests::failure::code;
use integration_tests::{Options, STEPS, Secret, Server, Strategy, World, merged, uuid, world, world_with};
use serde_json::{Value, json};

on! { (postgres, mysql, mariadb):
    a_password_without_a_label_is_found;
    a_database_restored_to_an_older_state_is_followed;
    a_search_does_not_use_up_the_logins_that_a_server_allows;
    an_edit_during_a_rotation_is_not_lost;
    a_version_made_current_by_hand_is_set;
    a_clone_that_is_gone_is_made_again;
    an_edit_while_the_clone_is_current_is_no_obstacle;
    a_version_that_a_refused_rotation_left_proves_no_pair;
    a_name_like_a_clones_without_any_evidence_is_told_before_a_value_is_stored;
}

/// Removes AWSPENDING, as people do who do not read the warnings.
pub(super) async fn given_up<S: Server>(world: &World<S>, secret: &Secret<'_, S>, version: &str) {
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": version});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
}

/// A rotation gets as far as setSecret, and then the version loses its label.
async fn a_password_without_a_label_is_found<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user("app").await;
    for by_hand in [false, true] {
        let token = secret.registered().await;
        secret.steps(&["createSecret", "setSecret"], &token).await;
        let (_, set) = secret.credential("AWSPENDING").await;
        if by_hand {
            secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "as before, or so it seems"}))).await;
        } else {
            given_up(&world, &secret, &token).await;
        }
        assert!(world.opens("app", &set).await && !secret.opens("AWSCURRENT").await);
        let token = secret.rotated().await.token;
        secret.arrived(&token).await;
        assert!(!world.opens("app", &set).await, "the lost password has been replaced");
    }
}

/// The password in effect is that of AWSPREVIOUS, or of a version before it, which has no label.
async fn a_database_restored_to_an_older_state_is_followed<O: Options>(options: O) {
    let world = world_with(options, |function| function.env("MAX_REFUSED_LOGINS", "5")).await;
    let secret = world.user("app").await;
    for back in [1, 2] {
        let mut passwords = Vec::new();
        for _ in 0..3 {
            secret.rotated().await;
            passwords.insert(0, secret.credential("AWSCURRENT").await.1);
        }
        world.server.set_password("app", &passwords[back]).await;
        assert!(!secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await == (back == 1));
        let token = secret.rotated().await.token;
        secret.arrived(&token).await;
    }
}

/// How many refused logins end a search. MariaDB's current password is tried twice, because the driver may be at fault.
pub(super) fn most_refused_logins<S: Server>(world: &World<S>) -> usize {
    match world.server.fields()["engine"].as_str() {
        Some("postgres") => 4,
        Some("mysql") => 2,
        _ => 5,
    }
}

async fn a_search_does_not_use_up_the_logins_that_a_server_allows<O: Options<Server: Users>>(options: O) {
    let world = world(O::Server::counting(options)).await;
    let most = most_refused_logins(&world);
    let secret = world.user("app").await;
    for _ in 0..6 {
        secret.rotated().await;
    }
    world.server.set_password("app", "changed by hand").await;
    let before = world.server.refused_logins().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "refused-too-often", "{error:?}");
    assert!(error.error_message.contains(&format!("{most} logins")), "{error:?}");
    assert_eq!(world.server.refused_logins().await - before, most);
}

/// Between setSecret and finishSecret somebody makes a version current that has one more key.
async fn an_edit_during_a_rotation_is_not_lost<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        let secret = world.user_of(strategy, &format!("{strategy:?}").to_lowercase()).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
        let (old, edited) = (secret.version("AWSCURRENT").await, uuid());
        let value = merged(secret.at("AWSCURRENT").await, json!({"note": "precious"}));
        let put = json!({"SecretId": secret.arn, "ClientRequestToken": edited, "VersionStages": ["EDITED"],
            "SecretString": value.to_string()});
        world.lab.call("PutSecretValue", put).await.expect("the version is stored");
        let moved = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": edited,
            "RemoveFromVersionId": old});
        world.lab.call("UpdateSecretVersionStage", moved).await.expect("the label moves");
        for step in &STEPS[1..] {
            assert_eq!(code(secret.step(step, &token).await), "pending-outdated", "{strategy:?}, {step}");
        }
        // What the error says.
        given_up(&world, &secret, &token).await;
        let token = secret.rotated().await.token;
        secret.arrived(&token).await;
        assert_eq!(secret.at("AWSCURRENT").await["note"], "precious", "{strategy:?}");
    }
}

/// Somebody moves AWSCURRENT to the pending version, which was never set.
async fn a_version_made_current_by_hand_is_set<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        let secret = world.user_of(strategy, &format!("{strategy:?}").to_lowercase()).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        let moved = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": token,
            "RemoveFromVersionId": secret.version("AWSCURRENT").await});
        world.lab.call("UpdateSecretVersionStage", moved).await.expect("the label moves");
        for step in ["testSecret", "finishSecret"] {
            let code = code(secret.step(step, &token).await);
            // MySQL asks users that it does not know for a password of some kind.
            assert!(
                ["current-rejected", "authentication-unsupported"].contains(&code.as_str()),
                "{strategy:?}, {step}: {code}"
            );
        }
        secret.steps(&STEPS, &token).await;
        secret.arrived(&token).await;
    }
}

/// The server was restored to a state before the clone was made, or somebody dropped it. AWSPREVIOUS still holds the base.
async fn a_clone_that_is_gone_is_made_again<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user_of(Strategy::AlternatingUsers, "base").await;
    secret.rotated().await;
    assert_eq!(secret.credential("AWSCURRENT").await.0, "base_clone");
    world.sql("DROP USER base_clone").await;
    for expected in ["base", "base_clone", "base"] {
        let token = secret.rotated().await.token;
        secret.arrived(&token).await;
        assert_eq!(secret.credential("AWSCURRENT").await.0, expected);
    }
}

/// An edit makes AWSPREVIOUS a version of the same user, so that it no longer says whose clone that is.
async fn an_edit_while_the_clone_is_current_is_no_obstacle<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user_of(Strategy::AlternatingUsers, "base").await;
    for expected in ["base_clone", "base", "base_clone", "base"] {
        // MySQL and MariaDB know nothing of pairs, and a wrong guess would be stored.
        let unnamed = secret.at("AWSCURRENT").await["rotation"].is_null();
        if expected == "base" && unnamed && world.server.fields()["engine"] != "postgres" {
            assert_eq!(secret.refused().await.error_type, "pair-unproven");
            let named = json!({"rotation": {"users": ["base", "base_clone"]}});
            secret.put(&merged(secret.at("AWSCURRENT").await, named)).await;
        }
        let token = secret.rotated().await.token;
        secret.arrived(&token).await;
        assert_eq!(secret.credential("AWSCURRENT").await.0, expected);
        for note in ["one more field", "and another"] {
            secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": note}))).await;
        }
    }
}

/// A stranger's user has the clone's name. The rotation that is refused because of that leaves a version with that name.
async fn a_version_that_a_refused_rotation_left_proves_no_pair<O: Options>(options: O) {
    let world = world(options).await;
    let stranger = lab::servers::Password::random();
    world.server.create_user("base_clone", &stranger).await;
    let secret = world.user_of(Strategy::AlternatingUsers, "base").await;
    for _ in 0..2 {
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        assert_eq!(code(secret.step("setSecret", &token).await), "pair-unproven");
        given_up(&world, &secret, &token).await;
    }
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "edited"}))).await;
    assert_eq!(secret.refused().await.error_type, "pair-unproven");
    assert!(world.server.opens("base_clone", stranger.expose()).await, "the stranger's password has changed");
}

async fn a_name_like_a_clones_without_any_evidence_is_told_before_a_value_is_stored<O: Options>(options: O) {
    let world = world(options).await;
    let other = world.user_of(Strategy::AlternatingUsers, "base").await;
    other.rotated().await;
    // A secret that has never held the base.
    let clone: Value = other.at("AWSCURRENT").await;
    let secret = world.secret(clone.clone()).await;
    secret.put(&merged(clone.clone(), json!({"note": "edited"}))).await;
    let token = secret.registered().await;
    let error = secret.step("createSecret", &token).await.expect_err("nothing tells whose clone it is");
    assert_eq!(error.error_type, "pair-unproven", "{error:?}");
    assert!(error.error_message.contains("rotation.users"), "the way out is named: {error:?}");
    // Naming the pair leads out.
    secret.put(&merged(clone, json!({"rotation": {"users": ["base", "base_clone"]}}))).await;
    let token = secret.rotated().await.token;
    secret.arrived(&token).await;
    assert_eq!(secret.credential("AWSCURRENT").await.0, "base");
}
