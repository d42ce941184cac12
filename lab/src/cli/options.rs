//! Options that more than one command has.

use super::named::named;
use crate::build::Profile;
use crate::provision::{Release, Version};
use clap::Args;

#[derive(Args, Clone, Debug)]
pub(super) struct PostgresVersion {
    /// The major version of the throwaway PostgreSQL: 13, 15, 17 or 18 [default: 15, or what LOCKSTEP_POSTGRES says].
    #[arg(long, value_name = "VERSION", value_parser = named(&Version::ALL, Version::name, "no such version"), hide_possible_values = true)]
    pub(super) postgres: Option<Version>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct MariaDbVersion {
    /// The version of the throwaway MariaDB: 10.5, 10.11 or 11.8 [default: 10.11, or what LOCKSTEP_MARIADB says].
    #[arg(long, value_name = "VERSION", value_parser = named(&Release::MARIADB, Release::name, "no such version"), hide_possible_values = true)]
    pub(super) mariadb: Option<Release>,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct WhichProfile {
    /// Build the function optimised, as it is deployed. That takes minutes.
    #[arg(long)]
    pub(super) release: bool,
}

impl From<WhichProfile> for Profile {
    fn from(WhichProfile { release }: WhichProfile) -> Self {
        if release { Self::Release } else { Self::Dev }
    }
}
