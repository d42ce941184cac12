//! Whether a person may begin a rotation through the function.

use crate::error::{Code, Error, Fact, Result};
use crate::protocol::schedule::unqualified;
use crate::protocol::store::Description;

/// Checks that the function may ask the service to rotate this secret now. `function` is the function's ARN.
///
/// **Invariant:** the function rotates only secrets that name it, and none whose rotation is under way. Otherwise whoever may invoke
/// it could rotate any secret that its role reaches, or begin again what is in the middle.
/// Test: `only_what_is_this_functions_and_at_rest_is_rotated_now`.
///
/// # Errors
/// [`Code::RotateNowRefused`].
pub fn may_rotate_now(description: &Description, function: &str) -> Result<()> {
    let refused = |what: &str| Err(Error::new(Code::RotateNowRefused).with(Fact::What, what));
    if description.rotated_by.as_deref().map(unqualified) != Some(unqualified(function)) {
        return refused("the secret does not name this function as the one that rotates it");
    }
    if description.rotation_enabled != Some(true) {
        return refused("rotation is turned off for the secret");
    }
    if description.is_unfinished() {
        return refused("a rotation of the secret was begun and has not ended");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::label::{CURRENT, PENDING};

    #[test]
    fn only_what_is_this_functions_and_at_rest_is_rotated_now() {
        let function = "arn:aws:lambda:r:1:function:f";
        let label = |version: &str, label: &str| (version.to_owned(), vec![label.to_owned()]);
        let good = Description {
            rotation_enabled: Some(true),
            rotated_by: Some(function.to_owned()),
            labels: [label("v1", CURRENT)].into(),
            ..Description::default()
        };
        assert_eq!(may_rotate_now(&good, &format!("{function}:alias")), Ok(()));
        for bad in [
            Description { rotated_by: None, ..good.clone() },
            Description { rotated_by: Some(format!("{function}2")), ..good.clone() },
            Description { rotation_enabled: Some(false), ..good.clone() },
            Description { rotation_enabled: None, ..good.clone() },
            Description { labels: [label("v1", CURRENT), label("v2", PENDING)].into(), ..good.clone() },
        ] {
            let refused = may_rotate_now(&bad, function).unwrap_err();
            assert_eq!(refused.code(), Code::RotateNowRefused, "{bad:?}");
        }
    }
}
