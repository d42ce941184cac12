//! Histories that once ended badly, and mistakes that the machine must find.

use lab::chaos::{Case, History, Judged, Mutation, Plan, Target, explore, replay};

fn tried(text: &str, mutation: Option<Mutation>) -> Judged {
    replay(&History::parse(text).unwrap(), mutation).unwrap()
}

fn kinds(text: &str, mutation: Option<Mutation>) -> Vec<String> {
    tried(text, mutation).violations.into_iter().map(|violation| violation.kind).collect()
}

#[test]
fn an_undisturbed_rotation_violates_nothing() {
    for target in Target::ALL {
        for strategy in target.strategies() {
            for before in 0..4 {
                let text = format!("{}/{}+{before}", target.name(), strategy.name());
                assert_eq!(kinds(&text, None), [""; 0], "{text}");
            }
        }
    }
}

/// A violation is replayed from its text. That works only if a history takes the same course each time.
#[test]
fn a_history_takes_the_same_course_each_time() {
    for text in [
        "postgres/single-user+1 9:held-up 9:strip-pending",
        "mysql/alternating-users+1 12:at-once 20:crash-after",
        "issuer/create-revoke+1 6:at-once 22:crash-after",
        "signing-key/two-places+1 9:held-up",
        "tls/account+1 9:at-once",
    ] {
        assert_eq!(tried(text, None).journal, tried(text, None).journal, "{text}");
    }
}

/// The first history: an invocation is held up, AWSPENDING is removed, and the next rotation succeeds meanwhile.
#[test]
fn without_a_lock_a_rotation_is_overtaken() {
    let text = "postgres/single-user+1 11:held-up 13:strip-pending";
    let overtaken = |mutation| kinds(text, mutation).contains(&"overtaken: current-refused".to_owned());
    assert!(!overtaken(None));
    assert!(overtaken(Some(Mutation::NoLock)));
    assert!(overtaken(Some(Mutation::LockAfterLabels)));
}

#[test]
fn a_password_before_its_privileges_is_found() {
    let found = |mutation| {
        let plan = one_strategy("mysql/alternating-users", 0, mutation);
        explore(&plan, &|_, _| {}).unwrap().found.into_keys().any(|(_, _, kind)| kind == "less-than-the-base")
    };
    assert!(!found(None));
    assert!(found(Some(Mutation::PasswordBeforeGrants)));
}

#[test]
fn a_second_run_that_retains_the_new_password_is_found() {
    let text = "mysql/dual-password+1 11:reply-lost";
    assert_eq!(kinds(text, None), [""; 0]);
    assert!(kinds(text, Some(Mutation::RetainsTwice)).contains(&"current-refused".to_owned()));
}

/// All histories with one event.
fn one_strategy(name: &str, before: u32, mutation: Option<Mutation>) -> Plan {
    let case = Case::parse(name).unwrap();
    let cases = vec![(case.target, case.strategy)];
    Plan {
        cases,
        depth: 1,
        full_depth: 1,
        samples: 0,
        before: vec![before],
        extend_violating: false,
        mutation,
        seed: 1,
    }
}

/// The stage `chaos` of `.ci/run` tries all of them.
#[test]
fn one_fault_or_act_violates_nothing() {
    for name in ["postgres/single-user", "mysql/dual-password-discard", "mariadb/alternating-users", "issuer/set-value"]
    {
        let found = explore(&one_strategy(name, 1, None), &|_, _| {}).unwrap().found;
        let kinds: Vec<_> = found.into_keys().map(|(_, _, kind)| kind).collect();
        assert_eq!(kinds, [""; 0], "{name}");
    }
}

/// Each ended badly once, for the reason beside it.
#[test]
fn histories_that_ended_badly_end_well() {
    for (text, reason) in [
        ("postgres/alternating-users+1 4:stale-read", "an outdated read of AWSPREVIOUS made a clone's clone"),
        ("mysql/alternating-users+1 4:stale-read", "an outdated read of AWSPREVIOUS made a clone's clone"),
        ("postgres/alternating-users+1 8:current-to-previous", "AWSCURRENT moved while setSecret ran"),
        ("mysql/dual-password+1 7:current-to-previous", "AWSCURRENT moved while setSecret ran"),
        ("mysql/dual-password-discard+0 24:current-to-previous", "a password was discarded without asking the labels"),
        ("postgres/single-user+0 1:current-to-pending", "a version was called current without being tried"),
        ("mysql/alternating-users+0 7:current-to-pending", "a version was called current without being tried"),
        ("postgres/alternating-users+1 1:current-to-pending", "AWSPREVIOUS without a value was read for ever"),
        ("postgres/single-user+0 11:strip-pending", "nobody looked at versions without a label"),
        ("mysql/dual-password+1 21:restore-older-database", "nobody looked at versions without a label"),
        ("postgres/single-user+0 3:put-edited", "an edit was lost"),
        ("postgres/single-user+0 12:label-edited", "an edit was lost"),
        ("mysql/dual-password+0 21:change-password", "the logins of a user were used up"),
        ("mysql/dual-password+0 1:change-password", "the logins of a user were used up by retries"),
        ("mysql/dual-password-discard+0 23:crash-after", "the previous password lived on"),
        ("mysql/dual-password-discard+1 9:reply-lost 34:stale-read", "an outdated read kept a password alive"),
        ("postgres/alternating-users+1 1:drop-clone", "a clone in use was gone at the server"),
        ("mysql/named-users+1 1:drop-clone", "a clone in use was gone at the server"),
        ("postgres/alternating-users+1 3:current-to-pending", "AWSPREVIOUS moved between the reads of createSecret"),
        ("postgres/alternating-users+1 23:held-up 71:label-edited", "an edit hid whose clone the user is"),
        ("issuer/create-revoke+0 6:throttle", "the first key was taken for a stranger's, and lived for ever"),
        ("issuer/create-revoke-now+0 22:current-to-previous", "a key that was current again was revoked"),
        ("issuer/create-revoke-now+1 24:current-to-previous", "a key that was current again was revoked"),
        ("issuer/set-value+0 11:held-up", "the labels were asked before the request for a token, and not after it"),
        ("issuer/set-value+0 10:held-up 64:stale-read", "an outdated read put back a value that had been replaced"),
        ("issuer/roll+1 8:change-key", "the advice led nobody out while AWSCURRENT was refused"),
        ("issuer/create-revoke-now+1 1:revoke-key 15:revoke-pending-key", "the same where the issuer makes the key"),
        ("signing-key/s3-object+1 9:empty-published", "a key signed that was back in its place for a moment only"),
        (
            "signing-key/s3-object+1 7:leak-next 31:delete-published",
            "an emergency called a rotation done whose keys somebody had removed",
        ),
        (
            "signing-key/s3-object+1 10:at-once 13:delete-published",
            "a key signed that another invocation had put back a moment before",
        ),
        (
            "signing-key/s3-object+1 20:delete-published 26:current-to-previous",
            "a key signed that finishSecret had put back a moment before",
        ),
        (
            "signing-key/two-places+2 4:current-to-previous 27:current-to-pending",
            "a limit: AWSCURRENT was moved back, and on to a version that was made before",
        ),
        (
            "tls/certificate+0 33:held-up 115:throttle",
            "a limit: a certificate was handed on too late, and that could not be undone",
        ),
        (
            "tls/certificate+0 19:throttle 21:held-up",
            "a limit: a TXT value stays for the next rotation if another process gets the certificate",
        ),
        (
            "signing-key/parameter+1 10:add-published 12:throttle",
            "a limit: a parameter was written at once by somebody else, and its writer could not look back",
        ),
        (
            "signing-key/parameter+1 11:held-up 42:current-to-pending",
            "a limit: a write of a parameter that was held up stands for a moment",
        ),
        (
            "issuer/create-revoke-now+1 21:rotate-admin 22:rotate-admin",
            "a key without a proof has to end two rotations later",
        ),
    ] {
        assert_eq!(kinds(text, None), [""; 0], "{text}: {reason}");
    }
}
