//! The signing keys of secrets, with what they are published and looked at through.

use crate::outlet::{Found, Outlets};
use crate::outside::Outside;
use crate::place::Place;
use crate::settings::Settings;
use rotation::Result;
use rotation::protocol::context::StepContext;

/// Signing keys, as a [`Target`](rotation::protocol::target::Target).
pub struct SigningKeys {
    pub(crate) outlets: Outlets,
    pub(crate) outside: Outside,
    pub(crate) settings: Settings,
}

impl SigningKeys {
    /// A target by these settings.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`](rotation::Code::CaBundleInvalid).
    pub fn new(settings: Settings) -> Result<Self> {
        Ok(Self { outlets: Outlets::new(&settings), outside: Outside::new(&settings)?, settings })
    }

    /// What is published in a place, if the deployer lets the secret publish there. Nothing is written without this.
    pub(crate) async fn read(&self, context: &StepContext<'_>, place: &Place) -> Result<Found> {
        self.settings.allow(context.secret(), place)?;
        self.outlets.read(place, context.deadline()).await
    }

    /// A target over these places, which looks at nothing from outside.
    pub fn over(outlets: Outlets) -> Self {
        Self { outlets, outside: Outside::default(), settings: Settings::default() }
    }
}
