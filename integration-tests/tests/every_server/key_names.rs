//! Secrets of other tools, whose keys have other names than AWS's (`rotation.fields`).

use integration_tests::{Options, Secret, Server, World, world};
use lab::servers::Password;
use serde_json::{Value, json};

on! { (postgres, mysql, mariadb):
    a_tools_secret_rotates_and_keeps_its_keys;
    a_pair_whose_secrets_have_a_tools_keys_takes_turns;
    a_password_from_before_the_names_were_given_is_found;
}

/// How a tool might write it, without `engine`. Only the password differs from one version to the next.
fn text<S: Server>(world: &World<S>, password: &str) -> String {
    let (port, engine) = (world.relay.port(), world.server.fields()["engine"].clone());
    format!(
        "{{\"zeta\": 1.50, \"hostname\":\"localhost\",\n \"db_port\":\"{port}\", \"user\":\"app\",  \"pass\":\"{password}\", \
         \"rotation\": {{ \"engine\":{engine}, \"fields\": {{\"host\": \"hostname\", \"port\": \"db_port\", \
         \"username\":\"user\",\"password\": \"pass\"}} }}, \"nested\": {{\"password\":1,\"username\":[ ]}}}}"
    )
}

/// A secret's value with the keys of a tool.
fn of_a_tool(mut document: Value, fields: Value) -> Value {
    let names = fields.as_object().unwrap().clone();
    let object = document.as_object_mut().unwrap();
    for (key, name) in &names {
        let value = object.remove(key).unwrap();
        object.insert(name.as_str().unwrap().to_owned(), value);
    }
    object.insert("rotation".to_owned(), json!({"fields": names}));
    document
}

async fn opens<S: Server>(secret: &Secret<'_, S>, world: &World<S>, label: &str) -> bool {
    world.opens(&secret.field(label, "user").await, &secret.field(label, "pass").await).await
}

async fn a_tools_secret_rotates_and_keeps_its_keys<O: Options>(options: O) {
    let world = world(options).await;
    let password = Password::random();
    world.server.create_user("app", &password).await;
    let secret = world.secret_text(&text(&world, password.expose())).await;
    for _ in 0..2 {
        secret.rotated().await;
        let new = secret.field("AWSCURRENT", "pass").await;
        assert_eq!(world.lab.secret_value(&secret.arn, "AWSCURRENT").await.unwrap(), text(&world, &new));
        assert!(world.opens("app", &new).await);
    }
    assert!(!world.opens("app", password.expose()).await);
    // An error names the key of the tool.
    let edited = world.lab.secret_value(&secret.arn, "AWSCURRENT").await.unwrap().replace("\"app\"", "7");
    secret.put(&serde_json::from_str(&edited).unwrap()).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "field-invalid");
    assert!(error.error_message.contains("user"), "{error:?}");
}

async fn a_pair_whose_secrets_have_a_tools_keys_takes_turns<O: Options>(options: O) {
    let world = world(options).await;
    let (name, password) = world.server.superuser();
    let names = json!({"username": "login", "password": "word", "host": "server"});
    let superuser = world.secret(of_a_tool(world.document(name, password.expose()), names)).await;
    let password = Password::random();
    world.server.create_user("app", &password).await;
    let mut document = world.document("app", password.expose());
    document["masterarn"] = json!(superuser.arn);
    let names = json!({"username": "user", "password": "pass", "masterarn": "admin"});
    let secret = world.secret(of_a_tool(document, names)).await;
    for user in ["app_clone", "app", "app_clone"] {
        secret.rotated().await;
        assert_eq!(secret.field("AWSCURRENT", "user").await, user);
        assert!(opens(&secret, &world, "AWSCURRENT").await && opens(&secret, &world, "AWSPREVIOUS").await);
    }
}

/// A person gives the names, and a wrong password with them: the one that works is in the version of before.
async fn a_password_from_before_the_names_were_given_is_found<O: Options>(options: O) {
    let world = world(options).await;
    let password = Password::random();
    world.server.create_user("app", &password).await;
    let before =
        json!({"hostname": "localhost", "db_port": world.relay.port(), "user": "app", "pass": password.expose()});
    let secret = world.secret(before).await;
    secret.put(&serde_json::from_str(&text(&world, "not the one")).unwrap()).await;
    secret.rotated().await;
    assert!(opens(&secret, &world, "AWSCURRENT").await);
    assert!(!world.opens("app", password.expose()).await);
}
