//! What `load` and `consumers` have in common: which engines and strategies are meant, their functions, and the picture.

use super::screen::Screen;
use super::setup::function;
use super::stop::Stop;
use super::target::Function;
use crate::build::Profile;
use crate::load::{Engine, Functions, Kind, Strategy};
use std::path::Path;

/// Every engine with each of its strategies, or those that the person has named.
pub(super) fn chosen(engine: Option<Engine>, strategy: Option<Strategy>) -> Result<Vec<Kind>, Stop> {
    let is_engine = |kind: &Kind| engine.is_none_or(|wanted| wanted == kind.engine);
    let is_strategy = |kind: &Kind| strategy.is_none_or(|wanted| wanted == kind.strategy);
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(is_engine).filter(is_strategy).collect();
    if kinds.is_empty() {
        return Err(Stop::Usage("this server does not have this strategy".to_owned()));
    }
    Ok(kinds)
}

/// The functions of these engines, each built once.
pub(super) async fn built(screen: &Screen, kinds: &[Kind], release: bool) -> Result<Functions, Stop> {
    let profile = if release { Profile::Release } else { Profile::Dev };
    let mut functions = Functions::new();
    for kind in kinds {
        let package = kind.engine.function();
        if !functions.contains_key(package) {
            let binary = function(screen, package, &Function::Built(profile)).await?;
            functions.insert(package, binary);
        }
    }
    Ok(functions)
}

/// A picture can be written there, as far as that can be told before it is drawn.
pub(super) fn check_picture(path: &Path) -> Result<(), Stop> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() {
        return Ok(());
    }
    Err(Stop::Usage(format!("--plot {}: there is no directory {}", path.display(), directory.display())))
}

/// Writes a picture, and says where.
pub(super) fn write_picture(screen: &Screen, path: &Path, svg: String) -> Result<(), Stop> {
    let failed = |error| Stop::Setup(format!("{} could not be written: {error}", path.display()));
    std::fs::write(path, svg).map_err(failed)?;
    screen.fact("picture", &path.display().to_string());
    Ok(())
}
