//! Tries a description whose strategy replaces the key: exchanges the key of a file for a new one, which the file then holds.
//!
//! A new key is in a file before anything else can fail: the value that is sent to the issuer before it is sent, and a key that
//! the issuer has made as soon as it is here.

use super::file::SecretFile;
use super::trial::{Failure, Trial, passwords};
use api_key::description::{Expiry, Key, Strategy};
use api_key::target::value::draw;
use rotation::password::OsEntropy;

impl Trial<'_> {
    /// Exchanges the key for real.
    pub(super) async fn replace(&self, old: &Key, file: SecretFile<'_>) -> Result<(), Failure> {
        let issuer = self.exchange.issuer();
        self.step("verify", self.works(old)).await?;
        // Not interrupted by a signal: afterwards nobody would have the key.
        let new = match issuer.strategy {
            Strategy::SetValue => self.step("set", self.set(old, &file)).await,
            _ => self.step("roll", self.rolled(old, &file)).await,
        };
        let new = new.inspect_err(|_| self.tell_where(&file))?;
        let tried = self.step("verify", self.works(&new)).await;
        if tried.is_err() {
            self.tell_where(&file);
            return tried;
        }
        file.settle().map_err(unwritten)?;
        self.screen.line(&format!("  {} has the new key.", file.path.display()));
        match issuer.strategy {
            Strategy::RollGrace => Ok(()),
            _ => self.step("refused", self.refused(old)).await,
        }
    }

    async fn set(&self, old: &Key, file: &SecretFile<'_>) -> Result<(Key, String), Failure> {
        let issuer = self.exchange.issuer();
        let form = issuer.value.as_ref().ok_or_else(|| Failure::new("internal", "no `value`"))?;
        let new = Key { secret: Some(draw(form, &passwords()?, &OsEntropy)?), ..old.clone() };
        file.write(issuer, &new, old).map_err(unwritten)?;
        self.exchange.set(&new, || std::future::ready(Ok(()))).await?;
        Ok((new, "the issuer has the new value".to_owned()))
    }

    async fn rolled(&self, old: &Key, file: &SecretFile<'_>) -> Result<(Key, String), Failure> {
        let issuer = self.exchange.issuer();
        let grace = issuer.grace.filter(|_| issuer.strategy == Strategy::RollGrace).map(Expiry::after);
        let rolled = self.exchange.roll(old, grace).await?;
        let new = rolled.ok_or_else(|| Failure::new("locked-out", "the issuer has no such key any more (`gone`)"))?;
        file.write(issuer, &new, old).map_err(unwritten)?;
        Ok((new, "the issuer has exchanged the key".to_owned()))
    }

    /// Says which key may work.
    fn tell_where(&self, file: &SecretFile<'_>) {
        let (old, new) = (file.path.display(), file.waiting());
        let text = match new.exists() {
            true => format!("{} has the new key and {old} the old one: only one of them may work", new.display()),
            false => {
                format!("{old} has the old key. If the request arrived, that key has ended and nobody has the new one")
            }
        };
        self.screen.complain(&text);
    }
}

fn unwritten(reason: String) -> Failure {
    Failure::new("setup", reason)
}
