//! What a clone owns, and servers on which it comes to own things.
//!
//! A clone's sessions start as the base (`ALTER ROLE clone SET role = base`), so what they make is the base's. Sessions of a clone
//! that AWS's function has made start as the clone. So do, on old servers, those that a pooler has reset.

use crate::sql::preamble::{flag, rows, text};
use crate::sql::quote::literal;
use tokio_postgres::SimpleQueryMessage;

/// What a role owns in one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    database: String,
    /// Whether that is the database of the session, where the rotation itself gives them to the base.
    here: bool,
    objects: u64,
    /// `ALTER DEFAULT PRIVILEGES` of the role, which REASSIGN OWNED leaves as they are.
    default_privileges: u64,
}

impl Owned {
    /// A query whose rows [`read`](Self::read) takes. The catalog is one for all databases, and every role may read it.
    pub(crate) fn query(role: &str) -> String {
        format!(
            "SELECT 'owned', d.datname, d.datname = current_database(), \
               count(*) FILTER (WHERE s.classid <> 'pg_default_acl'::regclass), \
               count(*) FILTER (WHERE s.classid = 'pg_default_acl'::regclass) \
             FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid \
             WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND r.rolname::text = {} \
             GROUP BY 2, 3 ORDER BY 2",
            literal(role)
        )
    }

    /// The databases in which the role owns anything.
    pub(crate) fn read(messages: &[SimpleQueryMessage]) -> Vec<Self> {
        let count = |row, column| text(row, column).parse().unwrap_or_default();
        rows(messages, "owned")
            .map(|row| Self {
                database: text(row, 1).to_owned(),
                here: flag(row, 2),
                objects: count(row, 3),
                default_privileges: count(row, 4),
            })
            .collect()
    }

    /// What the rotation does not give to the base, in words.
    pub(crate) fn left(&self) -> Option<String> {
        let objects = if self.here { 0 } else { self.objects };
        let parts = [(objects, "objects"), (self.default_privileges, "default privileges")];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what}: {count}")).collect();
        (!parts.is_empty()).then(|| format!("database {} ({})", self.database, parts.join(", ")))
    }
}

/// Whether SET SESSION AUTHORIZATION, and with it DISCARD ALL, ends the `role` setting of a session, so that it goes on as the user
/// who logged in. The minor versions of November 2024 changed that (release notes of 17.1, CVE-2024-10978).
pub(crate) fn drops_role(version: u32) -> bool {
    const FIRST_THAT_KEEP_IT: [(u32, u32); 6] = [(12, 21), (13, 17), (14, 14), (15, 9), (16, 5), (17, 1)];
    let (major, minor) = (version / 10_000, version % 10_000);
    match FIRST_THAT_KEEP_IT.iter().find(|(same, _)| *same == major) {
        Some((_, first)) => minor < *first,
        None => major < 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minor_versions_from_before_november_2024_drop_a_role() {
        let dropping = [90_624, 110_022, 120_020, 130_016, 150_008, 160_002, 170_000];
        assert!(dropping.iter().all(|version| drops_role(*version)));
        let keeping = [120_021, 130_017, 150_018, 160_005, 170_012, 180_000, 190_001];
        assert!(!keeping.iter().any(|version| drops_role(*version)));
    }

    #[test]
    fn what_the_rotation_gives_to_the_base_itself_is_not_left() {
        let owned = |here, objects, default_privileges| {
            Owned { database: "shop".to_owned(), here, objects, default_privileges }.left()
        };
        assert_eq!(owned(true, 3, 0), None);
        assert_eq!(owned(true, 3, 1).as_deref(), Some("database shop (default privileges: 1)"));
        assert_eq!(owned(false, 3, 1).as_deref(), Some("database shop (objects: 3, default privileges: 1)"));
    }
}
